/* What the parts of Sprout know of each other. */
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

/* bag.c */
uint8_t give_item(uint8_t item, uint8_t count);
uint8_t has_item(uint8_t item);
void take_item(uint8_t item, uint8_t count);
void item_name(uint8_t item);

/* scripts.c */
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
