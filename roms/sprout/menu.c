/* Vertical menus: the variables are those of the original, and stay as they were when a menu closes. */
#include "engine.h"

static volatile uint8_t *row(uint8_t item) {
    uint16_t y = wTopMenuItemY;
    y += hUILayoutFlags & 2 ? item : (uint8_t)(item << 1);
    y <<= 2;
    return wTileMap + (y << 2) + y + wTopMenuItemX;
}

void place_menu_cursor(void) {
    volatile uint8_t *p = row(wLastMenuItem);
    if (*p == 0xED) *p = wTileBehindCursor;
    p = row(wCurrentMenuItem);
    if (*p != 0xED) wTileBehindCursor = *p;
    *p = 0xED;
    wMenuCursorLocation = (uint16_t)p;
    wLastMenuItem = wCurrentMenuItem;
}

void hollow_cursor(void) { *(volatile uint8_t *)wMenuCursorLocation = 0xEC; }

/* A key went down: moves the cursor, or says (1) that the menu returns. */
uint8_t menu_key(void) {
    uint8_t key = hJoy5;
    if (key & K_UP) {
        if (wCurrentMenuItem) wCurrentMenuItem--;
        else if (wMenuWrappingEnabled) wCurrentMenuItem = wMaxMenuItem;
        else if (wMenuWatchMovingOutOfBounds) return 1;
    } else if (key & K_DOWN) {
        if (wCurrentMenuItem < wMaxMenuItem) wCurrentMenuItem++;
        else if (wMenuWrappingEnabled) wCurrentMenuItem = 0;
        else if (wMenuWatchMovingOutOfBounds) return 1;
    }
    return key & wMenuWatchedKeys ? 1 : 0;
}

void animate_party(void) {}

void menu(uint8_t y, uint8_t x, uint8_t last, uint8_t keys) {
    wTopMenuItemY = y;
    wTopMenuItemX = x;
    wMaxMenuItem = last;
    wMenuWatchedKeys = keys;
    wCurrentMenuItem = 0;
    wLastMenuItem = 0;
    wMenuWatchMovingOutOfBounds = 0;
    wMenuJoypadPollCount = 0;
}

/* 0 yes, 1 no */
uint8_t yes_no(void) {
    uint8_t key;
    copy_bytes(wTileMapBackup2, wTileMap, 360);
    box(14, 7, 6, 5);
    put(16, 8, "YES");
    put(16, 10, "NO");
    wTextBoxID = 0x14;
    wTwoOptionMenuID = 0;
    menu(8, 15, 1, K_A | K_B);
    key = handle_menu_input();
    if (key & K_B) wCurrentMenuItem = 1;
    wChosenMenuItem = wCurrentMenuItem;
    wMenuExitMethod = wCurrentMenuItem ? 2 : 1;
    delay_frames(15);
    copy_bytes(wTileMap, wTileMapBackup2, 360);
    return wChosenMenuItem;
}

static void put_name(uint8_t x, uint8_t y, volatile uint8_t *name) {
    volatile uint8_t *p = wTileMap + (uint16_t)y * 20 + x;
    while (*name != 0x50) *p++ = *name++;
}

void draw_start_menu(void) {
    box(10, 0, 10, 14);
    put(12, 2, "TEAM");
    put(12, 4, "BAG");
    put_name(12, 6, wPlayerName);
    put(12, 8, "SAVE");
    put(12, 10, "OPTION");
    put(12, 12, "EXIT");
    menu(2, 11, 6, 0xCB);
    wCurrentMenuItem = wLastMenuItem = wBattleAndStartSavedMenuItem;
    place_menu_cursor();
}

void save_game(void);

/* The caller of the original's START menu wraps by itself: one line past the end is the first again. */
void start_menu(void) {
    uint8_t key;
    for (;;) {
        wMenuWrappingEnabled = 1;
        key = handle_menu_input();
        if (key & (K_UP | K_DOWN)) {
            if (wCurrentMenuItem == wMaxMenuItem) {
                wCurrentMenuItem = key & K_UP ? (uint8_t)(wMaxMenuItem - 1) : 0;
            }
            wBattleAndStartSavedMenuItem = wCurrentMenuItem;
            continue;
        }
        wBattleAndStartSavedMenuItem = wCurrentMenuItem;
        if (key & (K_B | K_START)) return;
        switch (wCurrentMenuItem) {
            case 3:
                save_game();
                return;
            case 5: return;
        }
    }
}
