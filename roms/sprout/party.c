/* The player's creatures: creation, experience, screens. */
#include "engine.h"

#define MON(i) (wPartyMons + (uint16_t)(i) * 44)
#define NICK(i) (wPartyMonNicks + (uint16_t)(i) * 11)

/* ((base + DV) * 2) * level / 100 + 5, HP: + level + 10; the DVs are in the struct */
static uint16_t stat(uint8_t base, uint8_t dv, uint8_t level, uint8_t hp) {
    uint16_t value = (uint16_t)(((uint32_t)((uint16_t)(base + dv) << 1) * level) / 100);
    return hp ? value + level + 10 : value + 5;
}

void compute_stats(volatile uint8_t *mon) {
    uint8_t level = mon[0x21], a = mon[0x1B], b = mon[0x1C], hp;
    load_species(mon[0]);
    hp = (uint8_t)((a >> 1) & 8) | (uint8_t)((a << 2) & 4) | (uint8_t)((b >> 3) & 2) | (b & 1);
    set_big(mon + 0x22, stat(species_record[14], hp, level, 1));
    set_big(mon + 0x24, stat(species_record[15], a >> 4, level, 0));
    set_big(mon + 0x26, stat(species_record[16], a & 15, level, 0));
    set_big(mon + 0x28, stat(species_record[17], b >> 4, level, 0));
    set_big(mon + 0x2A, stat(species_record[18], b & 15, level, 0));
}

static void experience_of(uint8_t level, uint8_t *to) {
    pFarBank = BEAST_BANK;
    pFarPtr = EXP_TABLE + (uint16_t)level * 3;
    to[0] = far_byte();
    to[1] = far_byte();
    to[2] = far_byte();
}

static uint8_t pp_of(uint8_t id) {
    if (!id) return 0;
    load_move(id);
    return move_record[16];
}

/* A new creature with the moves of its level, at most the last four. */
void make_mon(volatile uint8_t *mon, uint8_t species, uint8_t level) {
    uint8_t i, j, id, known = 0;
    uint8_t exp[3];
    fill_bytes(mon, 0, 44);
    load_species(species);
    mon[0] = species;
    mon[3] = level;
    mon[5] = species_record[12];
    mon[6] = species_record[13];
    mon[7] = species_record[19];
    for (i = 25; i < 35; i += 2) {
        id = species_record[i + 1];
        if (!species_record[i] || species_record[i] > level) continue;
        if (known == 4) {
            for (j = 0; j < 3; j++) mon[8 + j] = mon[9 + j];
            known = 3;
        }
        mon[8 + known++] = id;
    }
    for (i = 0; i < 4; i++) { j = pp_of(mon[8 + i]); mon[0x1D + i] = j; }
    mon[0x0C] = wPlayerID[0];
    mon[0x0D] = wPlayerID[1];
    experience_of(level, exp);
    mon[0x0E] = exp[0];
    mon[0x0F] = exp[1];
    mon[0x10] = exp[2];
    mon[0x1B] = random();
    mon[0x1C] = random();
    mon[0x21] = level;
    compute_stats(mon);
    mon[1] = mon[0x22];
    mon[2] = mon[0x23];
}

/* Adds a creature to the team: 0 no room, 1 done. */
uint8_t give_mon(uint8_t species, uint8_t level) {
    uint8_t n = wPartyCount, i;
    load_species(species);
    i = book_number(species);
    set_flag(wPokedexOwned, i);
    set_flag(wPokedexSeen, i);
    if (n == 6) return 0;
    make_mon(MON(n), species, level);
    load_species(species);
    copy_name(NICK(n), species_record + 1);
    copy_name(wPartyMonOT + (uint16_t)n * 11, wPlayerName);
    wPartySpecies[n] = species;
    wPartySpecies[n + 1] = 0xFF;
    wPartyCount = n + 1;
    return 1;
}

void heal_party(void) {
    uint8_t i, j, k;
    for (i = 0; i < wPartyCount; i++) {
        volatile uint8_t *mon = MON(i);
        mon[1] = mon[0x22];
        mon[2] = mon[0x23];
        mon[4] = 0;
        for (j = 0; j < 4; j++) { k = pp_of(mon[8 + j]); mon[0x1D + j] = k; }
    }
}

uint8_t party_alive(void) {
    uint8_t i;
    for (i = 0; i < wPartyCount; i++)
        if (big(MON(i) + 1)) return 1;
    return 0;
}

/* The list of moves, counted from 1 as in a battle: type 1 to copy (B is refused), 2 to restore PP. The slot, 0xFF for B. */
uint8_t move_list(uint8_t x, volatile uint8_t *moves, uint8_t type) {
    uint8_t i, n = 0, key;
    copy_bytes(wTileMapBackup2, wTileMap, 360);
    box(x, 7, 16, 6);
    for (i = 0; i < 4; i++) {
        if (!moves[i]) { put((uint8_t)(x + 2), (uint8_t)(8 + i), "-"); continue; }
        load_move(moves[i]);
        put_name((uint8_t)(x + 2), (uint8_t)(8 + i), move_record + 1);
        n++;
    }
    wMoveMenuType = type;
    hUILayoutFlags |= 2;
    menu(7, (uint8_t)(x + 1), (uint8_t)(n + 1), type == 1 ? 0xC1 : 0xC3);
    wCurrentMenuItem = wLastMenuItem = 1;
    do {
        key = handle_menu_input();
        i = wCurrentMenuItem;
        if (!i) i = n;
        else if (i > n) i = 1;
        wCurrentMenuItem = i;
    } while (!(key & (K_A | K_B)));
    hUILayoutFlags &= (uint8_t)~2;
    copy_bytes(wTileMap, wTileMapBackup2, 360);
    return key & K_A ? (uint8_t)(i - 1) : 0xFF;
}

/* Which move to forget for a new one: 0..3, or 4 for none. */
static uint8_t forget_menu(volatile uint8_t *mon) {
    uint8_t i, key;
    copy_bytes(wTileMapBackup2, wTileMap, 360);
    box(4, 7, 16, 6);
    for (i = 0; i < 4; i++) {
        load_move(mon[8 + i]);
        put_name(6, (uint8_t)(8 + i), move_record + 1);
    }
    hUILayoutFlags |= 2;
    menu(8, 5, 3, K_A | K_B);
    key = handle_menu_input();
    hUILayoutFlags &= (uint8_t)~2;
    copy_bytes(wTileMap, wTileMapBackup2, 360);
    return key & K_A ? wCurrentMenuItem : 4;
}

void learn_moves(uint8_t index) {
    volatile uint8_t *mon = MON(index);
    uint8_t i, j, id, level = mon[0x21];
    for (i = 25; i < 35; i += 2) {
        load_species(mon[0]);
        id = species_record[i + 1];
        if (species_record[i] != level) continue;
        for (j = 0; j < 4; j++)
            if (mon[8 + j] == id) break;
        if (j < 4) continue;
        copy_name(wNameBuffer, NICK(index));
        load_move(id);
        copy_name(wStringBuffer, move_record + 1);
        for (j = 0; j < 4; j++)
            if (!mon[8 + j]) break;
        if (j == 4) {
            say(TEXT_WANTS_TO_LEARN);
            if (yes_no()) { say(TEXT_DID_NOT_LEARN); continue; }
            say(TEXT_FORGET_WHICH);
            j = forget_menu(mon);
            load_move(id);
            if (j == 4) { say(TEXT_DID_NOT_LEARN); continue; }
        }
        mon[8 + j] = id;
        load_move(id);
        mon[0x1D + j] = move_record[16];
        say(TEXT_LEARNED);
    }
}

/* Adds experience to a creature and prints what it gains, level by level. */
void gain_experience(uint8_t index, uint16_t amount) {
    volatile uint8_t *mon = MON(index);
    uint8_t need[3], level;
    uint16_t low, before;
    copy_name(wNameBuffer, NICK(index));
    pNumber = amount;
    say(TEXT_GAINED);
    low = big(mon + 0x0F);
    if ((uint16_t)(low + amount) < low) mon[0x0E]++;
    set_big(mon + 0x0F, low + amount);
    while (mon[0x21] < 100) {
        level = mon[0x21] + 1;
        experience_of(level, need);
        if (mon[0x0E] < need[0]) break;
        if (mon[0x0E] == need[0] && big(mon + 0x0F) < ((uint16_t)need[1] << 8 | need[2])) break;
        before = big(mon + 0x22);
        mon[0x21] = level;
        mon[3] = level;
        wCanEvolveFlags |= (uint8_t)(1 << index);
        compute_stats(mon);
        set_big(mon + 1, big(mon + 1) + big(mon + 0x22) - before);
        copy_name(wNameBuffer, NICK(index));
        pNumber = level;
        say(TEXT_GREW);
        learn_moves(index);
    }
}

/* ------------------------------------------------------------------ the team on the screen */
void hp_bar(uint8_t x, uint8_t y, uint16_t hp, uint16_t most) {
    volatile uint8_t *p = wTileMap + (uint16_t)y * 20 + x;
    uint8_t i, pixels = most ? (uint8_t)((uint32_t)hp * 48 / most) : 0;
    if (!pixels && hp) pixels = 1;
    *p++ = 0x71;
    *p++ = 0x62;
    for (i = 0; i < 6; i++) {
        if (pixels >= 8) { *p++ = 0x6B; pixels -= 8; }
        else { *p++ = 0x63 + pixels; pixels = 0; }
    }
    *p = 0x6C;
}

static const char *status_word(uint8_t status, uint16_t hp) {
    if (!hp) return "OUT";
    if (status & 7) return "SLP";
    if (status & 8) return "PSN";
    if (status & 16) return "BRN";
    if (status & 64) return "PAR";
    return "";
}

void put_status(uint8_t x, uint8_t y, uint8_t status, uint16_t hp, uint8_t level) {
    const char *word = status_word(status, hp);
    if (*word) put(x, y, word);
    else {
        *(wTileMap + (uint16_t)y * 20 + x) = 0x6E;
        put_number((uint8_t)(x + 1), y, level, level > 99 ? 3 : 2);
        if (level < 10) { put_number((uint8_t)(x + 1), y, level, 1); *(wTileMap + (uint16_t)y * 20 + x + 2) = 0x7F; }
    }
}

static void draw_party(void) {
    uint8_t i;
    fill_bytes(wTileMap, 0x7F, 360);
    for (i = 0; i < wPartyCount; i++) {
        volatile uint8_t *mon = MON(i);
        put_name(3, (uint8_t)(i << 1), NICK(i));
        put_status(14, (uint8_t)(i << 1), mon[4], big(mon + 1), mon[0x21]);
        hp_bar(4, (uint8_t)((i << 1) + 1), big(mon + 1), big(mon + 0x22));
        put_number(13, (uint8_t)((i << 1) + 1), big(mon + 1), 3);
        put(16, (uint8_t)((i << 1) + 1), "/");
        put_number(17, (uint8_t)((i << 1) + 1), big(mon + 0x22), 3);
    }
}

static void icons(uint8_t lifted, uint8_t by) {
    uint8_t i, y;
    volatile uint8_t *oam = wShadowOAM;
    fill_bytes(wShadowOAM, 0, 160);
    for (i = 0; i < wPartyCount; i++, oam += 16) {
        y = (uint8_t)(16 + (i << 4));
        if (i == lifted) y -= by;
        oam[0] = oam[4] = y;
        oam[8] = oam[12] = y + 8;
        oam[1] = oam[9] = 16;
        oam[5] = oam[13] = 24;
        oam[2] = 120;
        oam[6] = 121;
        oam[10] = 122;
        oam[14] = 123;
    }
}

/* Called from the polling loop of the menu, as in the retail game: moves the icon under the cursor. */
void animate_party(void) {
    static uint8_t turn;
    delay_frame();
    turn++;
    icons(wCurrentMenuItem, turn & 8 ? 1 : 0);
}

/* Index in wWhichPokemon, or 0xFF. */
uint8_t party_menu(uint8_t type) {
    uint8_t key;
    wPartyMenuTypeOrMessageID = type;
    wUpdateSpritesEnabled = 0xFF;
    draw_party();
    message_box();
    wTextBoxID = 1;
    put(1, 14, type == 4 ? "Swap with whom?" : type == 1 ? "Use on whom?" : "Choose one.");
    icons(0xFF, 0);
    wMenuWrappingEnabled = 1;
    menu(1, 0, (uint8_t)(wPartyCount - 1), wForcePlayerToChooseMon ? K_A : K_A | K_B);
    wCurrentMenuItem = wPartyAndBillsPCSavedMenuItem < wPartyCount ? wPartyAndBillsPCSavedMenuItem : 0;
    wLastMenuItem = wCurrentMenuItem;
    pPartyAnimation = 1;
    key = handle_menu_input_animated();
    pPartyAnimation = 0;
    wPartyAndBillsPCSavedMenuItem = wCurrentMenuItem;
    key = key & K_A ? wCurrentMenuItem : 0xFF;
    if (key != 0xFF) wWhichPokemon = key;
    wForcePlayerToChooseMon = 0;
    return key;
}

void swap_party(uint8_t a, uint8_t b) {
    uint8_t i, t, u;
    for (i = 0; i < 44; i++) { t = MON(a)[i]; u = MON(b)[i]; MON(a)[i] = u; MON(b)[i] = t; }
    for (i = 0; i < 11; i++) {
        t = NICK(a)[i]; u = NICK(b)[i]; NICK(a)[i] = u; NICK(b)[i] = t;
        t = wPartyMonOT[(uint16_t)a * 11 + i];
        u = wPartyMonOT[(uint16_t)b * 11 + i];
        wPartyMonOT[(uint16_t)a * 11 + i] = u;
        wPartyMonOT[(uint16_t)b * 11 + i] = t;
    }
    t = wPartySpecies[a];
    u = wPartySpecies[b];
    wPartySpecies[a] = u;
    wPartySpecies[b] = t;
}

const char *type_name(uint8_t type) {
    switch (type) {
        case 2: return "FLYING";
        case 3: return "POISON";
        case 5: return "ROCK";
        case 7: return "BUG";
        case 0x14: return "FIRE";
        case 0x15: return "WATER";
        case 0x16: return "GRASS";
        case 0x17: return "ELECTRIC";
    }
    return "NORMAL";
}

void status_screen(volatile uint8_t *mon, volatile uint8_t *nick) {
    uint8_t i;
    fill_bytes(wShadowOAM, 0, 160);
    fill_bytes(wTileMap, 0x7F, 360);
    put_name(1, 1, nick);
    put_status(13, 1, mon[4], big(mon + 1), mon[0x21]);
    hp_bar(1, 2, big(mon + 1), big(mon + 0x22));
    put_number(11, 2, big(mon + 1), 3);
    put(14, 2, "/");
    put_number(15, 2, big(mon + 0x22), 3);
    put(1, 4, type_name(mon[5]));
    if (mon[5] != mon[6]) put(10, 4, type_name(mon[6]));
    put(1, 6, "ATTACK");
    put_number(14, 6, big(mon + 0x24), 3);
    put(1, 7, "DEFENSE");
    put_number(14, 7, big(mon + 0x26), 3);
    put(1, 8, "SPEED");
    put_number(14, 8, big(mon + 0x28), 3);
    put(1, 9, "SPECIAL");
    put_number(14, 9, big(mon + 0x2A), 3);
    put(1, 10, "EXP");
    put_number(12, 10, big(mon + 0x0F), 5);
    box(0, 12, 20, 6);
    for (i = 0; i < 4; i++) {
        if (!mon[8 + i]) { put(2, (uint8_t)(13 + i), "-"); continue; }
        load_move(mon[8 + i]);
        put_name(2, (uint8_t)(13 + i), move_record + 1);
        put_number(14, (uint8_t)(13 + i), mon[0x1D + i] & 63, 2);
        put(16, (uint8_t)(13 + i), "/");
        put_number(17, (uint8_t)(13 + i), move_record[16], 2);
    }
    delay3();
    wait_for_text_button();
}

/* TEAM in the START menu. */
void team_screen(void) {
    uint8_t i, first, key;
    for (;;) {
        i = party_menu(0);
        if (i == 0xFF) break;
        hollow_cursor();
        box(11, 11, 9, 7);
        put(13, 12, "STATS");
        put(13, 14, "SWITCH");
        put(13, 16, "CANCEL");
        menu(12, 12, 2, K_A | K_B);
        key = handle_menu_input();
        if (!(key & K_A)) continue;
        if (wCurrentMenuItem == 0) status_screen(MON(i), NICK(i));
        else if (wCurrentMenuItem == 1) {
            first = i;
            i = party_menu(4);
            if (i != 0xFF && i != first) swap_party(first, i);
        }
    }
    fill_bytes(wShadowOAM, 0, 160); /* the icons */
    wUpdateSpritesEnabled = 1;
}
