/* Items, from the START menu and in battle. */
#include "engine.h"

#define MON(i) (wPartyMons + (uint16_t)(i) * 44)

static uint8_t cures(uint8_t item) {
    switch (item) {
        case ITEM_BITTER_TEA: return 8;
        case ITEM_WAKE_BELL: return 7;
        case ITEM_LIMBER_OIL: return 64;
    }
    return 0;
}

/* Restores PP of one move: 1 when some were missing, 2 when no move was chosen. */
static uint8_t refresh_move(volatile uint8_t *mon) {
    uint8_t slot, left, most;
    say(TEXT_WHICH_MOVE);
    slot = move_list(4, mon + 8, 2);
    if (slot == 0xFF) return 2;
    load_move(mon[8 + slot]);
    copy_name(wStringBuffer, move_record + 1);
    most = move_record[16];
    left = mon[0x1D + slot];
    if (left >= most) { say(TEXT_NO_EFFECT); return 0; }
    left += 10;
    mon[0x1D + slot] = left > most ? most : left;
    say(TEXT_PP_BACK);
    return 1;
}

/* Uses an item on a creature of the team: 1 when it had an effect, 2 when none was chosen. */
static uint8_t use_on_team(uint8_t item) {
    uint8_t index, amount, mask;
    uint16_t hp, most;
    volatile uint8_t *mon;
    if (!wPartyCount) { say(TEXT_NOT_NOW); return 0; }
    index = party_menu(1);
    if (index == 0xFF) return 2;
    mon = MON(index);
    hp = big(mon + 1);
    most = big(mon + 0x22);
    copy_name(wNameBuffer, wPartyMonNicks + (uint16_t)index * 11);
    if (item == ITEM_MINT_LEAF) return refresh_move(mon);
    mask = cures(item);
    if (mask) {
        if (!hp || !(mon[4] & mask)) { say(TEXT_NO_EFFECT); return 0; }
        mon[4] &= (uint8_t)~mask;
        say(TEXT_FEELS_BETTER);
        return 1;
    }
    amount = item == ITEM_HONEY_JAR ? 50 : 20;
    if (!hp || hp == most) { say(TEXT_NO_EFFECT); return 0; }
    pNumber = most - hp < amount ? most - hp : amount;
    set_big(mon + 1, hp + pNumber);
    hp_bar(4, (uint8_t)((index << 1) + 1), hp + pNumber, most);
    say(TEXT_HEALED_BY);
    return 1;
}

/* 0 no effect, 1 an effect, 2 cancelled, without a text. */
uint8_t use_item(uint8_t item) {
    switch (item) {
        case ITEM_DEW_DROP:
        case ITEM_HONEY_JAR:
        case ITEM_BITTER_TEA:
        case ITEM_WAKE_BELL:
        case ITEM_LIMBER_OIL:
        case ITEM_MINT_LEAF:
            return use_on_team(item);
        case ITEM_SMOKE_PUFF:
            wRepelRemainingSteps = 100;
            say(TEXT_SMOKE);
            return 1;
    }
    say(TEXT_NOT_NOW);
    return 0;
}

/* 0 nothing, 1 a turn spent, 2 a net */
uint8_t battle_bag(void) {
    uint8_t item, cursor, scroll, used;
    if (!list_menu(3, (uint16_t)&wNumBagItems, wBagSavedMenuItem, 0)) return 0;
    cursor = wCurrentMenuItem;
    wBagSavedMenuItem = cursor;
    scroll = wListScrollOffset;
    item = wCurItem;
    if (item == ITEM_NET) return 2;
    if (item == ITEM_SMOKE_PUFF) { say(TEXT_NOT_NOW); wait_for_text_button(); return 0; }
    used = use_item(item);
    if (used != 2) wait_for_text_button();
    fill_bytes(wShadowOAM, 0, 160);
    if (used != 1) return 0;
    take_item(item, 1);
    return 1;
}

/* BAG in the START menu. */
void bag_screen(void) {
    uint8_t item, key, cursor = wBagSavedMenuItem, scroll = 0, count, used;
    for (;;) {
        load_map_view();
        key = list_menu(3, (uint16_t)&wNumBagItems, cursor, scroll);
        wBagSavedMenuItem = wCurrentMenuItem;
        if (!key) break;
        cursor = wCurrentMenuItem;
        scroll = wListScrollOffset;
        item = wCurItem;
        count = has_item(item);
        load_item(item);
        used = item_record[17];
        box(13, 10, 7, 5);
        wTextBoxID = 6;
        put(15, 11, "USE");
        put(15, 13, "TOSS");
        menu(11, 14, 1, K_A | K_B);
        key = handle_menu_input();
        if (!(key & K_A)) continue;
        if (wCurrentMenuItem == 0) {
            key = use_item(item);
            if (key != 2) wait_for_text_button();
            fill_bytes(wShadowOAM, 0, 160);
            wUpdateSpritesEnabled = 1;
            if (key == 1) take_item(item, 1);
        } else if (used) {
            say(TEXT_TOO_IMPORTANT);
            wait_for_text_button();
        } else {
            key = quantity_menu(count, 0);
            if (!key) continue;
            item_name(item);
            say(TEXT_TOSS_SURE);
            if (yes_no()) continue;
            take_item(item, key);
            say(TEXT_TOSSED);
            wait_for_text_button();
        }
        if ((uint8_t)(cursor + scroll) > wNumBagItems) cursor = scroll = 0;
    }
    update_sprites();
}
