/* The scrolling list of the retail game: bag, shop, PC. */
#include "engine.h"

static void entry(uint8_t index, uint8_t y) {
    volatile uint8_t *list = (volatile uint8_t *)wListPointer;
    uint8_t kind = wListMenuID, id;
    if (index > wListCount) return;
    if (index == wListCount) { put(6, y, "CANCEL"); return; }
    if (kind == 0) {
        put_name(6, y, list == wBoxSpecies - 1 ? wBoxMonNicks + (uint16_t)index * 11 : wPartyMonNicks + (uint16_t)index * 11);
        return;
    }
    id = kind == 3 ? list[1 + (index << 1)] : list[1 + index];
    load_item(id);
    put_name(6, y, item_record + 1);
    if (kind == 3) {
        if (item_record[17]) return;
        put(14, (uint8_t)(y + 1), "*");
        put_number(15, (uint8_t)(y + 1), list[2 + (index << 1)], 2);
    } else put_money(12, (uint8_t)(y + 1), item_record + 14);
}

static void draw(void) {
    uint8_t i;
    box(4, 2, 16, 11);
    wTextBoxID = 0x0D;
    for (i = 0; i < 4; i++) entry((uint8_t)(wListScrollOffset + i), (uint8_t)(4 + (i << 1)));
    if ((uint8_t)(wListScrollOffset + 4) <= wListCount) *(wTileMap + 11 * 20 + 18) = 0xEE;
}

static void swap(uint8_t a, uint8_t b) {
    volatile uint8_t *p = (volatile uint8_t *)wListPointer + 1 + (a << 1), *q = (volatile uint8_t *)wListPointer + 1 + (b << 1);
    uint8_t item = p[0], count = p[1], other = q[0], others = q[1];
    p[0] = other;
    p[1] = others;
    q[0] = item;
    q[1] = count;
}

/* 1: wCurItem and wWhichPokemon hold the choice; 0: cancelled. */
uint8_t list_menu(uint8_t kind, uint16_t list, uint8_t cursor, uint8_t scroll) {
    uint8_t key, index, last;
    wStatusFlags5 |= 0x40;
    wListMenuID = kind;
    wListPointer = list;
    key = *(volatile uint8_t *)list;
    wListCount = key;
    wPrintItemPrices = kind == 2;
    wMenuItemToSwap = 0;
    wListScrollOffset = scroll;
    last = key < 2 ? key : 2;
    draw();
    delay_frames(10);
    menu(4, 5, last, K_A | K_B | K_SELECT);
    wCurrentMenuItem = wLastMenuItem = cursor > last ? last : cursor;
    for (;;) {
        wMenuWatchMovingOutOfBounds = 1;
        hJoy7 = 1;
        key = handle_menu_input();
        hJoy7 = 0;
        index = wListScrollOffset + wCurrentMenuItem;
        if (key & K_A) {
            hollow_cursor();
            if (index >= wListCount) break;
            wWhichPokemon = index;
            last = ((volatile uint8_t *)wListPointer)[kind == 3 ? 1 + (index << 1) : 1 + index];
            wCurItem = last;
            wMenuExitMethod = 1;
            wChosenMenuItem = index;
            wMenuWatchMovingOutOfBounds = 0;
            wMenuItemToSwap = 0;
            wStatusFlags5 &= 0xBF;
            return 1;
        }
        if (key & K_B) break;
        if (key & K_SELECT) {
            if (kind != 3 || index >= wListCount) continue;
            if (!wMenuItemToSwap) wMenuItemToSwap = index + 1;
            else { swap((uint8_t)(wMenuItemToSwap - 1), index); wMenuItemToSwap = 0; }
        } else if (key & K_DOWN) {
            if ((uint8_t)(wListScrollOffset + 3) <= wListCount) wListScrollOffset++;
        } else if (key & K_UP) {
            if (wListScrollOffset) wListScrollOffset--;
        }
        draw();
    }
    wMenuExitMethod = 2;
    wMenuWatchMovingOutOfBounds = 0;
    wMenuItemToSwap = 0;
    wStatusFlags5 &= 0xBF;
    return 0;
}

/* The quantity, in an input loop of its own: edges only, wraps between 1 and the maximum. 0: B. */
uint8_t quantity_menu(uint8_t most, uint8_t priced) {
    uint8_t n = 1, i;
    uint8_t total[3];
    wItemQuantity = 1;
    wMaxItemQuantity = most;
    for (;;) {
        if (priced) box(7, 9, 13, 3);
        else box(15, 9, 5, 3);
        i = priced ? 8 : 16;
        put(i, 10, "*");
        put_number((uint8_t)(i + 1), 10, n, 2);
        if (n < 10) *(wTileMap + 200 + i + 1) = 0xF6;
        if (priced) {
            total[0] = total[1] = total[2] = 0;
            for (i = 0; i < n; i++) money_add(total, item_record + 14);
            if (priced == 2) money_halve(total);
            put_money(12, 10, total);
        }
        do {
            joypad_low_sensitivity();
            i = hJoyPressed;
        } while (!(i & (K_A | K_B | K_UP | K_DOWN)));
        if (i & K_A) return n;
        if (i & K_B) return 0;
        if (i & K_UP) n = n == most ? 1 : n + 1;
        else n = n == 1 ? most : n - 1;
        wItemQuantity = n;
    }
}
