/* Vertical menus. As in the retail game the variables keep their values when a menu closes. */
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

static uint8_t two_options(const char *first, const char *second, uint8_t b_chooses) {
    uint8_t key;
    copy_bytes(wTileMapBackup2, wTileMap, 360);
    box(14, 7, 6, 5);
    put(16, 8, first);
    put(16, 10, second);
    wTextBoxID = 0x14;
    wTwoOptionMenuID = 0;
    menu(8, 15, 1, K_A | K_B);
    do key = handle_menu_input();
    while (!b_chooses && !(key & K_A));
    if (key & K_B) wCurrentMenuItem = 1;
    wChosenMenuItem = wCurrentMenuItem;
    wMenuExitMethod = wCurrentMenuItem ? 2 : 1;
    delay_frames(15);
    copy_bytes(wTileMap, wTileMapBackup2, 360);
    return wChosenMenuItem;
}

/* 0 yes, 1 no */
uint8_t yes_no(void) { return two_options("YES", "NO", 1); }

/* 0 no, 1 yes; for what cannot be undone: B does nothing */
uint8_t no_yes(void) { return two_options("NO", "YES", 0); }

/* With the book there is one line more. */
void draw_start_menu(void) {
    uint8_t book = event(EVENT_GOT_BOOK), y = 2;
    box(10, 0, 10, book ? 16 : 14);
    if (book) { put(12, y, "BOOK"); y += 2; }
    put(12, y, "TEAM");
    y += 2;
    put(12, y, "BAG");
    y += 2;
    put_name(12, y, wPlayerName);
    y += 2;
    put(12, y, "SAVE");
    y += 2;
    put(12, y, "OPTION");
    y += 2;
    put(12, y, "EXIT");
    book += 6;
    menu(2, 11, book, 0xCB);
    y = wBattleAndStartSavedMenuItem;
    if (y >= book) y = 0;
    wCurrentMenuItem = wLastMenuItem = y;
    place_menu_cursor();
}

static void closed_screen(void) {
    wUpdateSpritesEnabled = 1;
    load_map_view();
    draw_start_menu();
    update_sprites();
}

/* Its highest number is one past the last line: the caller wraps by itself, as in the retail game. */
void start_menu(void) {
    uint8_t key, item;
    for (;;) {
        wMenuWrappingEnabled = 1;
        key = handle_menu_input();
        item = wCurrentMenuItem;
        if (key & (K_UP | K_DOWN)) {
            if (item == wMaxMenuItem) item = key & K_UP ? (uint8_t)(wMaxMenuItem - 1) : 0;
            wCurrentMenuItem = item;
            wBattleAndStartSavedMenuItem = item;
            continue;
        }
        wBattleAndStartSavedMenuItem = item;
        if (key & (K_B | K_START)) return;
        if (event(EVENT_GOT_BOOK)) {
            if (item == 0) { FAR_CALL(5, book_screen); closed_screen(); continue; }
            item--;
        }
        switch (item) {
            case 0:
                if (wPartyCount) { team_screen(); closed_screen(); }
                break;
            case 1:
                bag_screen();
                closed_screen();
                break;
            case 2:
                FAR_CALL(5, card_screen);
                closed_screen();
                break;
            case 3:
                FAR_CALL(5, save_screen);
                return;
            case 4:
                FAR_CALL(5, option_screen);
                closed_screen();
                break;
            default: return;
        }
    }
}
