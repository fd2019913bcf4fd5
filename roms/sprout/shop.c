/* Shop, box, book, options, card. Bank 5; calls bank 0 only. */
#include "engine.h"

#define MON(i) (wPartyMons + (uint16_t)(i) * 44)
#define BOX(i) (wBoxMons + (uint16_t)(i) * 33)

static void clear(void) {
    fill_bytes(wShadowOAM, 0, 160);
    fill_bytes(wTileMap, 0x7F, 360);
}

static void money_box(void) {
    box(11, 0, 9, 3);
    wTextBoxID = 0x13;
    put_money(12, 1, wPlayerMoney);
}

/* ------------------------------------------------------------------ shop */
static const uint8_t goods[] = {7, ITEM_NET, ITEM_DEW_DROP, ITEM_BITTER_TEA, ITEM_WAKE_BELL, ITEM_LIMBER_OIL, ITEM_SMOKE_PUFF,
                                ITEM_MINT_LEAF, 0xFF};

static void buy(void) {
    uint8_t i, n, item, cursor = 0, scroll = 0;
    uint8_t total[3];
    for (i = 0; i < sizeof goods; i++) wItemList[i] = goods[i];
    for (;;) {
        money_box();
        if (!list_menu(2, (uint16_t)wItemList, cursor, scroll)) return;
        cursor = wCurrentMenuItem;
        scroll = wListScrollOffset;
        item = wCurItem;
        load_item(item);
        n = quantity_menu(99, 1);
        if (!n) continue;
        item_name(item);
        total[0] = total[1] = total[2] = 0;
        for (i = 0; i < n; i++) money_add(total, item_record + 14);
        say(TEXT_SHOP_SURE);
        if (yes_no()) continue;
        if (money_less(wPlayerMoney, total)) { say(TEXT_SHOP_POOR); continue; }
        if (!give_item(item, n)) { say(TEXT_BAG_FULL); delay_frames(40); continue; }
        money_subtract(wPlayerMoney, total);
        set_event(EVENT_BOUGHT_SOMETHING);
        money_box();
        say(TEXT_SHOP_THANKS);
    }
}

static void sell(void) {
    uint8_t i, n, item;
    uint8_t total[3];
    for (;;) {
        if (!wNumBagItems) { say(TEXT_NOTHING_TO_SELL); return; }
        money_box();
        if (!list_menu(3, (uint16_t)&wNumBagItems, 0, 0)) return;
        item = wCurItem;
        load_item(item);
        if (item_record[17]) { say(TEXT_TOO_IMPORTANT); wait_for_text_button(); continue; }
        n = quantity_menu(has_item(item), 2);
        if (!n) continue;
        total[0] = total[1] = total[2] = 0;
        for (i = 0; i < n; i++) money_add(total, item_record + 14);
        money_halve(total);
        item_name(item);
        say(TEXT_SHOP_SELL_SURE);
        if (yes_no()) continue;
        take_item(item, n);
        money_add(wPlayerMoney, total);
    }
}

void shop(void) {
    uint8_t key;
    say(TEXT_SHOP_HELLO);
    for (;;) {
        load_map_view();
        message_box();
        money_box();
        box(0, 0, 11, 7);
        put(2, 1, "BUY");
        put(2, 3, "SELL");
        put(2, 5, "QUIT");
        wTextBoxID = 0x0E;
        menu(1, 1, 2, K_A | K_B);
        key = handle_menu_input();
        if (!(key & K_A) || wCurrentMenuItem == 2) break;
        hollow_cursor();
        if (wCurrentMenuItem == 0) buy(); else sell();
    }
    load_map_view();
    say(TEXT_SHOP_BYE);
}

/* ------------------------------------------------------------------ the box */
void put_in_box(void) {
    uint8_t n = wBoxCount, id = wEnemyMon[0];
    volatile uint8_t *to;
    if (n >= 20) return;
    to = BOX(n);
    fill_bytes(to, 0, 33);
    copy_bytes(to, wEnemyMons, 33);
    copy_bytes(to + 1, wEnemyMon + 1, 2);
    copy_bytes(to + 4, wEnemyMon + 4, 1);
    to[3] = wEnemyMonLevel;
    copy_name(wBoxMonNicks + (uint16_t)n * 11, wNameBuffer);
    copy_name(wBoxMonOT + (uint16_t)n * 11, wPlayerName);
    wBoxSpecies[n] = id;
    wBoxSpecies[n + 1] = 0xFF;
    wBoxCount = n + 1;
}

static void remove_party(uint8_t index) {
    uint8_t i, t;
    for (i = index; i + 1 < wPartyCount; i++) {
        copy_bytes(MON(i), MON(i + 1), 44);
        copy_bytes(wPartyMonNicks + (uint16_t)i * 11, wPartyMonNicks + (uint16_t)i * 11 + 11, 11);
        copy_bytes(wPartyMonOT + (uint16_t)i * 11, wPartyMonOT + (uint16_t)i * 11 + 11, 11);
        t = wPartySpecies[i + 1];
        wPartySpecies[i] = t;
    }
    wPartySpecies[i] = 0xFF;
    wPartyCount--;
}

static void remove_boxed(uint8_t index) {
    uint8_t i, t;
    for (i = index; i + 1 < wBoxCount; i++) {
        copy_bytes(BOX(i), BOX(i + 1), 33);
        copy_bytes(wBoxMonNicks + (uint16_t)i * 11, wBoxMonNicks + (uint16_t)i * 11 + 11, 11);
        copy_bytes(wBoxMonOT + (uint16_t)i * 11, wBoxMonOT + (uint16_t)i * 11 + 11, 11);
        t = wBoxSpecies[i + 1];
        wBoxSpecies[i] = t;
    }
    wBoxSpecies[i] = 0xFF;
    wBoxCount--;
}

/* 1 take out or put in, 0 cancelled; STATS shows the creature first. */
static uint8_t box_submenu(const char *what, volatile uint8_t *mon, volatile uint8_t *nick) {
    uint8_t key;
    for (;;) {
        box(9, 10, 11, 8);
        put(11, 12, what);
        put(11, 14, "STATS");
        put(11, 16, "CANCEL");
        menu(12, 10, 2, K_A | K_B);
        key = handle_menu_input();
        if (!(key & K_A) || wCurrentMenuItem == 2) return 0;
        if (!wCurrentMenuItem) return 1;
        copy_bytes(wTileMapBackup2, wTileMap, 360);
        wUpdateSpritesEnabled = 0xFF;
        status_screen(mon, nick);
        wUpdateSpritesEnabled = 1;
        copy_bytes(wTileMap, wTileMapBackup2, 360);
    }
}

/* A boxed creature as it would be in the team. */
static void unbox(volatile uint8_t *to, volatile uint8_t *boxed) {
    uint8_t level = boxed[3];
    fill_bytes(to, 0, 44);
    copy_bytes(to, boxed, 33);
    to[0x21] = level;
    compute_stats(to);
}

void box_screen(void) {
    uint8_t key, i, n;
    say(TEXT_BOX_HELLO);
    for (;;) {
        load_map_view();
        message_box();
        box(0, 0, 14, 12);
        put(2, 2, "TAKE OUT");
        put(2, 4, "PUT IN");
        put(2, 6, "SET FREE");
        put(2, 8, "COUNT");
        put(2, 10, "LEAVE");
        menu(2, 1, 4, K_A | K_B);
        key = handle_menu_input();
        if (!(key & K_A) || wCurrentMenuItem == 4) break;
        key = wCurrentMenuItem;
        hollow_cursor();
        if (key == 3) {
            pNumber = wBoxCount;
            say(TEXT_BOX_COUNT);
            wait_for_text_button();
            continue;
        }
        if (key == 1) {
            if (wPartyCount < 2) { say(TEXT_BOX_LAST); wait_for_text_button(); continue; }
            if (wBoxCount == 20) { say(TEXT_BOX_FULL); wait_for_text_button(); continue; }
            if (!list_menu(0, (uint16_t)&wPartyCount, 0, 0)) continue;
            i = wWhichPokemon;
            if (!box_submenu("PUT IN", MON(i), wPartyMonNicks + (uint16_t)i * 11)) continue;
            n = wBoxCount;
            copy_bytes(BOX(n), MON(i), 33);
            BOX(n)[3] = MON(i)[0x21];
            copy_bytes(wBoxMonNicks + (uint16_t)n * 11, wPartyMonNicks + (uint16_t)i * 11, 11);
            copy_bytes(wBoxMonOT + (uint16_t)n * 11, wPartyMonOT + (uint16_t)i * 11, 11);
            key = MON(i)[0];
            wBoxSpecies[n] = key;
            wBoxSpecies[n + 1] = 0xFF;
            wBoxCount = n + 1;
            copy_name(wNameBuffer, wPartyMonNicks + (uint16_t)i * 11);
            remove_party(i);
            say(TEXT_BOX_STORED);
            wait_for_text_button();
            continue;
        }
        if (!wBoxCount) { say(TEXT_BOX_EMPTY); wait_for_text_button(); continue; }
        if (key == 0 && wPartyCount == 6) { say(TEXT_TEAM_FULL); wait_for_text_button(); continue; }
        if (!list_menu(0, (uint16_t)&wBoxCount, 0, 0)) continue;
        i = wWhichPokemon;
        copy_name(wNameBuffer, wBoxMonNicks + (uint16_t)i * 11);
        if (key == 0) {
            unbox(wLoadedMon, BOX(i));
            if (!box_submenu("TAKE OUT", wLoadedMon, wNameBuffer)) continue;
            n = wPartyCount;
            copy_bytes(MON(n), wLoadedMon, 44);
            copy_bytes(wPartyMonNicks + (uint16_t)n * 11, wBoxMonNicks + (uint16_t)i * 11, 11);
            copy_bytes(wPartyMonOT + (uint16_t)n * 11, wBoxMonOT + (uint16_t)i * 11, 11);
            key = BOX(i)[0];
            wPartySpecies[n] = key;
            wPartySpecies[n + 1] = 0xFF;
            wPartyCount = n + 1;
            remove_boxed(i);
            say(TEXT_BOX_TAKEN);
        } else {
            say(TEXT_BOX_FREE_SURE);
            if (yes_no()) continue;
            remove_boxed(i);
            say(TEXT_BOX_FREED);
        }
        wait_for_text_button();
    }
    load_map_view();
}

/* ------------------------------------------------------------------ item PC */
void item_pc(void) {
    uint8_t key, item, n, i;
    volatile uint8_t *p;
    for (;;) {
        load_map_view();
        message_box();
        box(0, 0, 14, 10);
        put(2, 2, "TAKE OUT");
        put(2, 4, "PUT IN");
        put(2, 6, "THROW AWAY");
        put(2, 8, "SWITCH OFF");
        menu(2, 1, 3, K_A | K_B);
        key = handle_menu_input();
        if (!(key & K_A) || wCurrentMenuItem == 3) break;
        key = wCurrentMenuItem;
        hollow_cursor();
        if (key == 1) {
            if (!wNumBagItems) { say(TEXT_NOTHING_TO_SELL); wait_for_text_button(); continue; }
            if (!list_menu(3, (uint16_t)&wNumBagItems, 0, 0)) continue;
            item = wCurItem;
            load_item(item);
            n = has_item(item) == 1 ? 1 : quantity_menu(has_item(item), 0);
            if (!n) continue;
            for (p = wBoxItems; *p != 0xFF && *p != item; p += 2) {}
            if (*p == 0xFF) {
                if (wNumBoxItems == 50) continue;
                p[0] = item;
                p[1] = 0;
                p[2] = 0xFF;
                wNumBoxItems++;
            }
            p[1] += n;
            if (p[1] > 99) p[1] = 99;
            take_item(item, n);
            continue;
        }
        if (!wNumBoxItems) { say(TEXT_BOX_EMPTY); wait_for_text_button(); continue; }
        if (!list_menu(3, (uint16_t)&wNumBoxItems, 0, 0)) continue;
        i = wWhichPokemon;
        item = wCurItem;
        load_item(item);
        p = wBoxItems + (i << 1);
        n = p[1] == 1 ? 1 : quantity_menu(p[1], 0);
        if (!n) continue;
        if (key == 2) {
            if (item_record[17]) { say(TEXT_TOO_IMPORTANT); wait_for_text_button(); continue; }
        } else if (!give_item(item, n)) { say(TEXT_BAG_FULL); wait_for_text_button(); continue; }
        p[1] -= n;
        if (!p[1]) {
            wNumBoxItems--;
            do {
                i = p[2];
                p[0] = i;
                i = p[3];
                p[1] = i;
                p += 2;
            } while (p[-2] != 0xFF);
        }
    }
    load_map_view();
}

/* ------------------------------------------------------------------ book */
static uint8_t count_bits(volatile uint8_t *p) {
    uint8_t i, n = 0;
    for (i = 0; i < SPECIES_COUNT; i++) n += flag(p, i);
    return n;
}

void book_screen(void) {
    uint8_t i, n, key, cursor = 0, scroll = 0;
    wUpdateSpritesEnabled = 0xFF;
    for (;;) {
        clear();
        put(1, 1, "BOOK");
        put(15, 2, "SEEN");
        put_number(16, 4, count_bits(wPokedexSeen), 2);
        put(15, 7, "OWN");
        put_number(16, 9, count_bits(wPokedexOwned), 2);
        for (i = 0; i < 7 && scroll + i < SPECIES_COUNT; i++) {
            n = scroll + i;
            put_number(1, (uint8_t)(3 + (i << 1)), n + 1, 2);
            if (flag(wPokedexOwned, n)) put(4, (uint8_t)(3 + (i << 1)), "*");
            if (!flag(wPokedexSeen, n)) { put(5, (uint8_t)(3 + (i << 1)), "-----"); continue; }
            load_species(book_species(n));
            put_name(5, (uint8_t)(3 + (i << 1)), species_record + 1);
        }
        menu(3, 0, 6, 0x33);
        wCurrentMenuItem = wLastMenuItem = cursor;
        wMenuWatchMovingOutOfBounds = 1;
        hJoy7 = 1;
        key = handle_menu_input();
        hJoy7 = 0;
        cursor = wCurrentMenuItem;
        if (key & K_B) break;
        if (key & K_DOWN) { if (scroll + 7 < SPECIES_COUNT) scroll++; }
        else if (key & K_UP) { if (scroll) scroll--; }
        else if (key & K_RIGHT) scroll = SPECIES_COUNT - 7;
        else if (key & K_LEFT) scroll = 0;
    }
    wMenuWatchMovingOutOfBounds = 0;
    wUpdateSpritesEnabled = 1;
}

/* Box tiles in place of the frame tiles 0x63 to 0x6F of the retail game's page, which otherwise draw HP bars. */
static const uint8_t frame_looks[] = {0x79, 0x7A, 0x7B, 0x7C, 0x7C, 0x7A, 0x7A, 0x7A, 0x7A, 0x7D, 0x7F, 0x7E, 0x7A};

static void frame_tiles(uint8_t framed) {
    uint8_t i, j, byte, tile[16];
    for (i = 0; i < 13; i++) {
        pFarBank = GRAPHICS_BANK;
        pFarPtr = FONT + 8 * (uint16_t)(framed ? frame_looks[i] - 0x60 : i + 3);
        for (j = 0; j < 16; j += 2) {
            byte = far_byte();
            tile[j] = tile[j + 1] = byte;
        }
        pCopyLength = 16;
        far_copy_vram((uint8_t *)(0x9630 + 16 * (uint16_t)i), (uint16_t)tile);
    }
}

/* The page of wCapturedMonSpecies. It waits for A or B in a loop of its own, without an arrow. */
void book_page(void) {
    uint8_t i;
    volatile uint8_t *p = wTileMap;
    fill_bytes(wShadowOAM, 0, 160);
    rBGP = 0;
    clear();
    delay3();
    wStatusFlags2 |= 2;
    hTileAnimations = 0;
    frame_tiles(1);
    for (i = 0; i < 18; i++, p += 20) {
        fill_bytes(p + 1, i == 0 ? 0x64 : i == 9 ? 0x69 : i == 17 ? 0x6F : 0x7F, 18);
        p[0] = i == 0 ? 0x63 : i == 9 ? 0x68 : i == 17 ? 0x6C : 0x66;
        p[19] = i == 0 ? 0x65 : i == 9 ? 0x6A : i == 17 ? 0x6E : 0x67;
    }
    load_picture(wCapturedMonSpecies, 0x9000);
    put_name(9, 2, species_record + 1);
    put(9, 4, type_name(species_record[12]));
    if (species_record[12] != species_record[13]) put(9, 6, type_name(species_record[13]));
    put_number(4, 8, book_number(wCapturedMonSpecies) + 1, 3);
    put_picture(1, 1, 0);
    delay3();
    rBGP = 0xE4;
    for (i = 0; i < 5 && species_record[26 + (i << 1)]; i++) {
        load_move(species_record[26 + (i << 1)]);
        put_name(9, (uint8_t)(11 + i), move_record + 1);
    }
    put(2, 11, "LEARNS");
    do joypad_low_sensitivity();
    while (!(hJoy5 & (K_A | K_B)));
    rBGP = 0;
    clear();
    delay3();
    frame_tiles(0);
    wStatusFlags2 &= (uint8_t)~2;
    rBGP = 0xE4;
}

/* ------------------------------------------------------------------ card and options */
void card_screen(void) {
    uint8_t i;
    wUpdateSpritesEnabled = 0xFF;
    clear();
    box(0, 0, 20, 9);
    put(2, 2, "NAME");
    put_name(8, 2, wPlayerName);
    put(2, 4, "COINS");
    put_money(8, 4, wPlayerMoney);
    put(2, 6, "TIME");
    put_number(8, 6, wPlayTimeHours, 3);
    put(11, 6, ":");
    put_number(12, 6, wPlayTimeMinutes, 2);
    if (wPlayTimeMinutes < 10) *(wTileMap + 6 * 20 + 12) = 0xF6;
    box(0, 9, 20, 9);
    put(2, 11, "BADGES");
    for (i = 0; i < 2; i++) {
        put_number((uint8_t)(3 + (i << 3)), 14, i + 1, 1);
        put((uint8_t)(5 + (i << 3)), 14, flag(&wObtainedBadges, i) ? i ? "TIDE" : "STONE" : "-----");
    }
    delay3();
    wait_for_text_button();
    wUpdateSpritesEnabled = 1;
}

static const uint8_t speed_x[] = {1, 7, 14}, speed_of[] = {1, 3, 5}, rows_of[] = {3, 8, 13, 16};

/* An input loop of its own, as in the retail game: the pad moves and changes, B, START or A on CANCEL leaves. */
void option_screen(void) {
    uint8_t row = 0, speed = 1, battle, style, key, i, x;
    wUpdateSpritesEnabled = 0xFF;
    clear();
    box(0, 0, 20, 5);
    put(1, 1, "TEXT SPEED");
    put(2, 3, "FAST  MEDIUM SLOW");
    box(0, 5, 20, 5);
    put(1, 6, "MOVES ARE SHOWN");
    put(2, 8, "YES      NO");
    box(0, 10, 20, 5);
    put(1, 11, "FIGHTS");
    put(2, 13, "SHIFT    SET");
    put(2, 16, "CANCEL");
    for (i = 0; i < 3; i++)
        if ((wOptions & 7) == speed_of[i]) speed = i;
    battle = wOptions >> 7;
    style = (wOptions >> 6) & 1;
    wCurrentMenuItem = wLastMenuItem = 0;
    for (;;) {
        for (i = 0; i < 4; i++) *(wTileMap + (uint16_t)rows_of[i] * 20 + 1) = 0x7F;
        *(wTileMap + 3 * 20 + 7) = *(wTileMap + 3 * 20 + 14) = 0x7F;
        *(wTileMap + 8 * 20 + 10) = *(wTileMap + 13 * 20 + 10) = 0x7F;
        *(wTileMap + 3 * 20 + speed_x[speed]) = 0xEC;
        *(wTileMap + 8 * 20 + (battle ? 10 : 1)) = 0xEC;
        *(wTileMap + 13 * 20 + (style ? 10 : 1)) = 0xEC;
        x = row == 0 ? speed_x[speed] : row == 1 ? (battle ? 10 : 1) : row == 2 ? (style ? 10 : 1) : 1;
        wTopMenuItemY = rows_of[row];
        wTopMenuItemX = x;
        place_menu_cursor();
        do {
            joypad_low_sensitivity();
            key = hJoy5;
        } while (!key);
        if (key & (K_B | K_START)) break;
        if ((key & K_A) && row == 3) break;
        if (key & K_DOWN) row = row == 3 ? 0 : row + 1;
        else if (key & K_UP) row = row ? row - 1 : 3;
        else if (key & K_RIGHT) {
            if (row == 0) { if (speed < 2) speed++; } else if (row == 1) battle = 1; else if (row == 2) style = 1;
        } else if (key & K_LEFT) {
            if (row == 0) { if (speed) speed--; } else if (row == 1) battle = 0; else if (row == 2) style = 0;
        }
        wOptions = speed_of[speed] | (battle ? 0x80 : 0) | (style ? 0x40 : 0);
    }
    wUpdateSpritesEnabled = 1;
}
