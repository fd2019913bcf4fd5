/* Declarations shared by the files of Sprout. */
#ifndef ENGINE_H
#define ENGINE_H
#include <stdint.h>
#include "ram.h"
#include "data.h"

#define rLCDC (*(volatile uint8_t *)0xFF40)
#define rBGP (*(volatile uint8_t *)0xFF47)
#define rOBP0 (*(volatile uint8_t *)0xFF48)
#define rWX (*(volatile uint8_t *)0xFF4B)
#define rLY (*(volatile uint8_t *)0xFF44)
#define rIF (*(volatile uint8_t *)0xFF0F)
#define rIE (*(volatile uint8_t *)0xFFFF)

#define K_A 1
#define K_B 2
#define K_SELECT 4
#define K_START 8
#define K_RIGHT 16
#define K_LEFT 32
#define K_UP 64
#define K_DOWN 128

enum { FACE_DOWN = 0, FACE_UP = 4, FACE_LEFT = 8, FACE_RIGHT = 12 };
enum { KIND_TEXT, KIND_SCRIPT, KIND_ITEM, KIND_TRAINER };

/* start.s */
void delay_frame(void);
void delay3(void);
void delay_frames(uint8_t n);
uint8_t random(void);
void joypad(void);
void joypad_low_sensitivity(void);
void wait_for_text_button(void);
uint8_t handle_menu_input(void);
uint8_t handle_menu_input_animated(void);
void load_map_view(void);
void far_copy(volatile uint8_t *to, uint16_t from);
void far_copy_vram(volatile uint8_t *to, uint16_t from);
void far_copy_1bpp(volatile uint8_t *to, uint16_t from);
uint8_t far_byte(void);
uint8_t far_call(void);
void restart(void);
#define FAR_CALL(bank, function) (pCallBank = (bank), pCall = (uint16_t)(function), far_call())

/* tilesets.c */
typedef struct {
    uint8_t id;
    uint16_t tiles, tiles_size, blocks;
    const uint8_t *walkable, *doors;
    uint8_t grass, water, ledge, over;
} tileset_t;
extern const tileset_t tilesets[];
extern const uint16_t wild_tables[], sprite_tiles[];

/* text.c */
void box(uint8_t x, uint8_t y, uint8_t width, uint8_t height);
void put(uint8_t x, uint8_t y, const char *letters);
void put_number(uint8_t x, uint8_t y, uint16_t value, uint8_t digits);
void say(uint8_t text);
void message_box(void);
void open_text(void);
void close_text(void);
void copy_bytes(volatile uint8_t *to, volatile const uint8_t *from, uint16_t count);
void fill_bytes(volatile uint8_t *to, uint8_t value, uint16_t count);
uint8_t event(uint8_t bit);
void set_event(uint8_t bit);
uint8_t flag(volatile uint8_t *array, uint8_t bit);
void set_flag(volatile uint8_t *array, uint8_t bit);

/* menu.c */
void start_menu(void);
void draw_start_menu(void);
void menu(uint8_t y, uint8_t x, uint8_t last, uint8_t keys);
uint8_t yes_no(void);
uint8_t no_yes(void);
void place_menu_cursor(void);
void hollow_cursor(void);

/* records.c */
extern uint8_t species_record[36], move_record[18], item_record[18], trainer_record[9];
void load_species(uint8_t id);
uint8_t book_number(uint8_t id);
uint8_t book_species(uint8_t number);
void load_move(uint8_t id);
void load_item(uint8_t id);
void load_trainer(uint8_t number);
uint8_t load_class(uint8_t id);
uint8_t matchup(uint8_t attacker, uint8_t defender);
void copy_name(volatile uint8_t *to, volatile const uint8_t *from);
uint16_t big(volatile const uint8_t *p);
void set_big(volatile uint8_t *p, uint16_t value);
uint8_t money_less(volatile const uint8_t *a, volatile const uint8_t *b);
void money_add(volatile uint8_t *a, volatile const uint8_t *b);
void money_subtract(volatile uint8_t *a, volatile const uint8_t *b);
void money_halve(volatile uint8_t *a);
void money_of(volatile uint8_t *to, uint16_t value);
void put_money(uint8_t x, uint8_t y, volatile const uint8_t *p);
void put_name(uint8_t x, uint8_t y, volatile const uint8_t *name);
void load_picture(uint8_t species, uint16_t to);
void put_picture(uint8_t x, uint8_t y, uint8_t tile);

/* list.c */
uint8_t list_menu(uint8_t kind, uint16_t list, uint8_t cursor, uint8_t scroll);
uint8_t quantity_menu(uint8_t most, uint8_t priced);

/* party.c */
void make_mon(volatile uint8_t *mon, uint8_t species, uint8_t level);
uint8_t give_mon(uint8_t species, uint8_t level);
void compute_stats(volatile uint8_t *mon);
void heal_party(void);
uint8_t party_alive(void);
void learn_moves(uint8_t index);
void gain_experience(uint8_t index, uint16_t amount);
const char *type_name(uint8_t type);
void hp_bar(uint8_t x, uint8_t y, uint16_t hp, uint16_t most);
void put_status(uint8_t x, uint8_t y, uint8_t status, uint16_t hp, uint8_t level);
uint8_t party_menu(uint8_t type);
void swap_party(uint8_t a, uint8_t b);
uint8_t move_list(uint8_t x, volatile uint8_t *moves, uint8_t type);
void status_screen(volatile uint8_t *mon, volatile uint8_t *nick);
void team_screen(void);

/* battle.c (bank 6) */
uint8_t battle_check(void);
extern uint8_t battle_trainer, battle_won;

/* evolution.c (bank 6) */
void evolve_after_battle(void);

/* items.c */
uint8_t use_item(uint8_t item);
uint8_t battle_bag(void);
void bag_screen(void);

/* bag.c */
uint8_t give_item(uint8_t item, uint8_t count);
uint8_t has_item(uint8_t item);
void take_item(uint8_t item, uint8_t count);
void item_name(uint8_t item);

/* bank 5: called through FAR_CALL */
void shop(void);
void put_in_box(void);
void box_screen(void);
void item_pc(void);
void book_screen(void);
void book_page(void);
void card_screen(void);
void option_screen(void);
void save_screen(void);
void hall_of_fame(void);
void name_creature(void);

/* scripts.c */
void trainer_beaten(uint8_t number);
void start_trainer(uint8_t number);
uint8_t new_battle(void);
void reset_scripts(void);
uint8_t object_kind(uint8_t slot);
void run_script(uint8_t number);
void map_script(void);

/* overworld.c */

void screen_off(void);
void screen_on(void);
void load_map(void);
void update_sprites(void);
void refresh_map(void);
void face_player(uint8_t slot);
void load_font(void);
void fade_out(void);
void fade_in(void);
void hide_object(uint8_t toggle);
extern uint8_t talk_kind, talk_arg, talk_slot;
extern uint8_t warp_map, warp_index;
#endif
