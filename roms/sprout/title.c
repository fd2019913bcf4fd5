/* Title, names, saving, the hall of fame. Bank 5; calls bank 0 only. */
#include "engine.h"

#define SAVE ((volatile uint8_t *)0xA000)

static void open_battery(void) {
    *(volatile uint8_t *)0x0000 = 0x0A;
    *(volatile uint8_t *)0x4000 = 1;
}

static void close_battery(void) {
    *(volatile uint8_t *)0x0000 = 0;
    *(volatile uint8_t *)0x4000 = 0;
}

/* Checksum of the save. */
static uint8_t checksum(void) {
    uint8_t sum = 0x5A;
    uint16_t n = 11 + 0x8E5 + 0x463;
    volatile uint8_t *p = SAVE + 0x598;
    while (n--) sum += *p++;
    return sum;
}

static void write_save(void) {
    open_battery();
    copy_bytes(SAVE + 0x598, wPlayerName, 11 + 0x8E5);
    copy_bytes(SAVE + 0x598 + 11 + 0x8E5, &wBoxCount, 0x463);
    SAVE[0x594] = 'S';
    SAVE[0x595] = 'P';
    SAVE[0x596] = wPlayerFacing;
    SAVE[0x597] = checksum();
    close_battery();
}

uint8_t save_exists(void) {
    uint8_t ok;
    open_battery();
    ok = SAVE[0x594] == 'S' && SAVE[0x595] == 'P' && SAVE[0x597] == checksum();
    close_battery();
    return ok;
}

void read_save(void) {
    open_battery();
    copy_bytes(wPlayerName, SAVE + 0x598, 11 + 0x8E5);
    copy_bytes(&wBoxCount, SAVE + 0x598 + 11 + 0x8E5, 0x463);
    wPlayerFacing = SAVE[0x596];
    close_battery();
    /* a game saved in the hall of friends continues at home */
    if (wCurMap == MAP_HALL_OF_FRIENDS && wNumHoFTeams) {
        wCurMap = MAP_HOME_1F;
        wXCoord = 0;
        wYCoord = 1;
        wPlayerFacing = FACE_DOWN;
    }
}

void save_screen(void) {
    box(0, 0, 16, 10);
    put(1, 2, "NAME");
    put_name(7, 2, wPlayerName);
    put(1, 4, "BADGES");
    put_number(9, 4, (wObtainedBadges & 1) + ((wObtainedBadges >> 1) & 1), 1);
    put(1, 6, "BOOK");
    {
        uint8_t i, n = 0;
        for (i = 0; i < SPECIES_COUNT; i++) n += flag(wPokedexOwned, i);
        put_number(8, 6, n, 2);
    }
    put(1, 8, "TIME");
    put_number(7, 8, wPlayTimeHours, 3);
    put(10, 8, ":");
    put_number(11, 8, wPlayTimeMinutes, 2);
    say(TEXT_SAVE_SURE);
    if (yes_no()) return;
    say(TEXT_SAVING);
    delay_frames(60);
    write_save();
    say(TEXT_SAVED);
    delay_frames(40);
}

/* ------------------------------------------------------------------ names */
static const char grid[2][46] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZ  *():-?!/.,$ 1234 ", "abcdefghijklmnopqrstuvwxyz  *():-?!/.,$ 1234 "};

static void draw_grid(uint8_t small, uint8_t length, volatile uint8_t *name, uint8_t most) {
    uint8_t i, r, c;
    char one[2];
    one[1] = 0;
    for (r = 0; r < 5; r++)
        for (c = 0; c < 9; c++) {
            one[0] = grid[small][r * 9 + c];
            put((uint8_t)(2 + (c << 1)), (uint8_t)(5 + (r << 1)), one);
        }
    *(wTileMap + 13 * 20 + 18) = 0x61;
    put(2, 15, small ? "UPPER CASE" : "lower case");
    for (i = 0; i < most; i++) *(wTileMap + 2 * 20 + 9 + i) = i < length ? name[i] : 0xE3;
}

/* An input loop of its own: A letter, B delete, START end, SELECT case, the pad moves. Returns the number of letters. */
static uint8_t naming(volatile uint8_t *name, const char *whose, uint8_t most) {
    uint8_t key, row = 1, column = 1, small = 0, length = 0;
    volatile uint8_t *p;
    fill_bytes(wTileMap, 0x7F, 360);
    box(0, 4, 20, 11);
    put(1, 1, whose);
    wNamingScreenSubmitName = 0;
    wTopMenuItemY = 3;
    wMaxMenuItem = 7;
    wMenuWatchedKeys = 0xFF;
    wCurrentMenuItem = 1;
    for (;;) {
        draw_grid(small, length, name, most);
        p = wTileMap + (uint16_t)(3 + (row << 1)) * 20 + column;
        *p = 0xED;
        wMenuCursorLocation = (uint16_t)p;
        wTopMenuItemX = column;
        wCurrentMenuItem = row;
        do {
            joypad_low_sensitivity();
            key = hJoyPressed;
        } while (!key);
        *p = 0x7F;
        if (key & K_A) {
            if (row == 6) { small ^= 1; continue; }
            if (row == 5 && column == 17) key = K_START;
            else if (length < most) {
                name[length++] = *(p + 1);
                if (length == most) { row = 5; column = 17; }
            }
        }
        if (key & K_START) {
            name[length] = 0x50;
            wNamingScreenSubmitName = 1;
            return length;
        }
        if (key & K_B) { if (length) length--; }
        else if (key & K_SELECT) small ^= 1;
        else if (key & K_UP) row = row == 1 ? 6 : row - 1;
        else if (key & K_DOWN) row = row == 6 ? 1 : row + 1;
        else if (key & K_LEFT) { if (row != 6) column = column == 1 ? 17 : column - 2; }
        else if (key & K_RIGHT) { if (row != 6) column = column == 17 ? 1 : column + 2; }
        if (row == 6) column = 1;
    }
}

static const char *const players[] = {"FERN", "ALDER", "ROWAN"}, *const rivals[] = {"BRIAR", "NETTLE", "HOLLY"};

static void preset(volatile uint8_t *to, const char *from) {
    while (*from) *to++ = (uint8_t)(*from++ - 'A' + 0x80);
    *to = 0x50;
}

static void choose_name(volatile uint8_t *name, const char *const *list, const char *whose) {
    uint8_t i;
    box(0, 0, 11, 12);
    put(2, 2, "NEW NAME");
    for (i = 0; i < 3; i++) put(2, (uint8_t)(4 + (i << 1)), list[i]);
    menu(2, 1, 3, K_A);
    handle_menu_input();
    i = wCurrentMenuItem;
    if (i) preset(name, list[i - 1]);
    else
        while (!naming(name, whose, 7)) {}
    fill_bytes(wTileMap, 0x7F, 360);
}

void name_people(void) {
    fill_bytes(wTileMap, 0x7F, 360);
    wLetterPrintingDelayFlags = 1;
    say(TEXT_INTRO);
    choose_name(wPlayerName, players, "YOUR NAME?");
    say(TEXT_INTRO_RIVAL);
    choose_name(wRivalName, rivals, "HIS NAME?");
    say(TEXT_INTRO_END);
    fill_bytes(wTileMap, 0x7F, 360);
    delay3();
}

/* A nickname into wNameBuffer; without a letter the name of the species stays. */
void name_creature(void) {
    if (naming(wStringBuffer, "ITS NAME?", 10)) copy_name(wNameBuffer, wStringBuffer);
}

/* ------------------------------------------------------------------ title */
static void draw_title(void) {
    uint8_t r, c, i;
    fill_bytes(wTileMap, 0x7F, 360);
    pFarBank = BEAST_BANK;
    pCopyLength = 576;
    far_copy_vram((uint8_t *)0x9000, TITLE_PICTURE);
    put_picture(7, 7, 0);
    pFarBank = GRAPHICS_BANK;
    pCopyLength = TITLE_SIZE;
    far_copy_vram((uint8_t *)0x9240, TITLE_TILES);
    i = 36;
    for (r = 0; r < 3; r++)
        for (c = 0; c < 16; c++) *(wTileMap + (uint16_t)(r + 2) * 20 + 2 + c) = i++;
    put(5, 15, "PRESS START");
}

/* UP, SELECT and B together, as in the retail game */
static void wipe_save(void) {
    fill_bytes(wTileMap, 0x7F, 360);
    say(TEXT_DELETE_SURE);
    if (no_yes()) {
        open_battery();
        SAVE[0x594] = 0;
        close_battery();
    }
}

static void wait_for_start(void) {
    for (;;) {
        draw_title();
        do {
            delay_frame();
            joypad();
            if (hJoyPressed & (K_START | K_A)) return;
        } while ((hJoyHeld & (K_UP | K_SELECT | K_B)) != (K_UP | K_SELECT | K_B));
        wipe_save();
    }
}

/* 1 continue, 0 new game */
uint8_t title(void) {
    uint8_t saved, key;
    hAutoBGTransferEnabled = 1;
    hWY = 0;
    wait_for_start();
    saved = save_exists();
    for (;;) {
        fill_bytes(wTileMap, 0x7F, 360);
        if (saved) {
            box(0, 0, 15, 8);
            put(2, 2, "CONTINUE");
            put(2, 4, "NEW GAME");
            put(2, 6, "OPTION");
        } else {
            box(0, 0, 15, 6);
            put(2, 2, "NEW GAME");
            put(2, 4, "OPTION");
        }
        menu(2, 1, saved ? 2 : 1, 0x0B);
        key = handle_menu_input();
        if (key & K_B) {
            wait_for_start();
            saved = save_exists();
            continue;
        }
        key = wCurrentMenuItem + (saved ? 0 : 1);
        if (key == 0) return 1;
        if (key == 1) return 0;
        option_screen();
    }
}

/* ------------------------------------------------------------------ the end */
/* As in the retail game: the team is counted first, the game saved, and after the last text the game restarts. */
void hall_of_fame(void) {
    uint8_t i;
    fill_bytes(wShadowOAM, 0, 160);
    wUpdateSpritesEnabled = 0xFF;
    if (wNumHoFTeams < 255) wNumHoFTeams++;
    for (i = 0; i < wPartyCount; i++) {
        volatile uint8_t *mon = wPartyMons + (uint16_t)i * 44;
        fill_bytes(wTileMap, 0x7F, 360);
        load_picture(mon[0], 0x9000);
        put_picture(7, 4, 0);
        put(3, 1, "HALL OF FRIENDS");
        put_name(5, 12, wPartyMonNicks + (uint16_t)i * 11);
        put(5, 14, "LEVEL");
        put_number(11, 14, mon[0x21], 3);
        delay_frames(120);
    }
    fill_bytes(wTileMap, 0x7F, 360);
    say(TEXT_THE_END);
    write_save();
    fill_bytes(wTileMap, 0x7F, 360);
    put(7, 8, "THE END");
    for (i = 0; i < 5; i++) delay_frames(120);
    wait_for_text_button();
    restart();
}
