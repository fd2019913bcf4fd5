/* Battles. Bank 6; calls bank 0 only. As in the retail game the variables keep their values after a battle. */
#include "engine.h"

#define MON(i) (wPartyMons + (uint16_t)(i) * 44)
#define ME wBattleMon
#define FOE wEnemyMon
enum { SPECIES, HP, POSITION = 3, STATUS, TYPE1, TYPE2, CATCH_RATE, MOVES, DVS = 0xC, LEVEL = 0xE, MAX_HP, ATTACK = 0x11,
       DEFENSE = 0x13, SPEED = 0x15, SPECIAL = 0x17, PP = 0x19 };
enum { NO_EFFECT, LOWER_ATTACK, LOWER_DEFENSE, BURN, PARALYZE, POISONING, SLEEP, FIRST, COPY };

uint8_t battle_trainer; /* number of the trainer + 1, 0 in the wild */
uint8_t battle_won;     /* the same, once beaten, for the scripts of bank 1 */
static uint8_t run_tries, foes_left, buffer[16];

static const uint8_t modifiers[] = {25, 28, 33, 40, 50, 66, 100, 150, 200, 250};

/* ------------------------------------------------------------------ loading */
static void to_battle(volatile uint8_t *b, volatile uint8_t *m, uint8_t position) {
    copy_bytes(b, m, 3);
    b[3] = position;
    copy_bytes(b + 4, m + 4, 8);
    copy_bytes(b + 0xC, m + 0x1B, 2);
    b[0xE] = m[0x21];
    copy_bytes(b + 0xF, m + 0x22, 10);
    copy_bytes(b + 0x19, m + 0x1D, 4);
}

static void from_battle(void) {
    volatile uint8_t *m = MON(wPlayerMonNumber);
    if (!wPartyCount || !ME[SPECIES]) return;
    copy_bytes(m + 1, ME + 1, 2);
    m[4] = ME[STATUS];
    copy_bytes(m + 0x1D, ME + PP, 4);
}

/* Copies back what an item changed; a copied move stays. */
static void after_item(void) {
    volatile uint8_t *m = MON(wPlayerMonNumber);
    copy_bytes(ME + 1, m + 1, 2);
    ME[STATUS] = m[4];
    copy_bytes(ME + PP, m + 0x1D, 4);
}

/* Half-size picture: every pixel twice. */
static void load_back(uint8_t species) {
    uint8_t i, j, k, bits, wide;
    uint16_t from, at;
    load_species(species);
    from = (uint16_t)species_record[24] << 8 | species_record[23];
    for (i = 0; i < 6; i++)
        for (j = 0; j < 6; j++) {
            at = from + (uint16_t)((i >> 1) * 3 + (j >> 1)) * 16 + (i & 1 ? 8 : 0);
            pFarBank = BEAST_BANK;
            pFarPtr = at;
            for (k = 0; k < 16; k += 4) {
                uint8_t plane;
                for (plane = 0; plane < 2; plane++) {
                    bits = far_byte();
                    if (!(j & 1)) bits >>= 4;
                    wide = 0;
                    if (bits & 8) wide |= 0xC0;
                    if (bits & 4) wide |= 0x30;
                    if (bits & 2) wide |= 0x0C;
                    if (bits & 1) wide |= 0x03;
                    buffer[k + plane] = wide;
                    buffer[k + plane + 2] = wide;
                }
            }
            pCopyLength = 16;
            far_copy_vram((uint8_t *)(0x9310 + (uint16_t)(i * 6 + j) * 16), (uint16_t)buffer);
        }
}

/* ------------------------------------------------------------------ drawing */
static void blank(uint8_t x, uint8_t y, uint8_t w, uint8_t h) {
    volatile uint8_t *p = wTileMap + (uint16_t)y * 20 + x;
    for (; h; h--, p += 20) fill_bytes(p, 0x7F, w);
}

static void hud_foe(void) {
    blank(1, 0, 11, 3);
    put_name(1, 0, wEnemyMonNick);
    put_status(5, 1, FOE[STATUS], 1, FOE[LEVEL]);
    hp_bar(1, 2, big(FOE + HP), big(FOE + MAX_HP));
}

static void hud_me(void) {
    blank(9, 7, 11, 4);
    put_name(9, 7, wBattleMonNick);
    put_status(14, 8, ME[STATUS], 1, ME[LEVEL]);
    hp_bar(9, 9, big(ME + HP), big(ME + MAX_HP));
    put_number(11, 10, big(ME + HP), 3);
    put(14, 10, "/");
    put_number(15, 10, big(ME + MAX_HP), 3);
}

static void redraw(void) {
    fill_bytes(wTileMap, 0x7F, 240);
    message_box();
    if (big(FOE + HP)) { hud_foe(); put_picture(13, 0, 0); }
    if (big(ME + HP)) { hud_me(); put_picture(1, 6, 0x31); }
}

static void name_of(uint8_t who) {
    if (who) {
        wNameBuffer[0] = 0x85; wNameBuffer[1] = 0xAE; wNameBuffer[2] = 0xA4; wNameBuffer[3] = 0x7F; /* "Foe " */
        copy_name(wNameBuffer + 4, wEnemyMonNick);
    } else copy_name(wNameBuffer, wBattleMonNick);
}

static void announce(uint8_t who, uint8_t text) {
    name_of(who);
    say(text);
    delay_frames(24);
}

/* the bar runs down (or up) a little every other frame */
static void run_bar(uint8_t who, uint16_t to) {
    volatile uint8_t *b = who ? FOE : ME;
    uint16_t hp = big(b + HP), most = big(b + MAX_HP), jump = most / 48 + 1;
    while (hp != to) {
        if (hp > to) hp = hp - to > jump ? hp - jump : to;
        else hp = to - hp > jump ? hp + jump : to;
        set_big(b + HP, hp);
        if (who) hp_bar(1, 2, hp, most);
        else { hp_bar(9, 9, hp, most); put_number(11, 10, hp, 3); }
        delay_frames(2);
    }
}

/* wAnimSoundID is not 0xFF while a move is shown. */
static void animate(uint8_t who, uint8_t move) {
    uint8_t i;
    wAnimationID = move;
    wAnimSoundID = move & 0x7F;
    for (i = 0; i < 4; i++) {
        wSubAnimCounter = 4 - i;
        if (who) blank(1, 6, 6, 6); else blank(13, 0, 6, 6);
        delay_frames(5);
        if (who) put_picture(1, 6, 0x31); else put_picture(13, 0, 0);
        delay_frames(5);
    }
    wSubAnimCounter = 0;
    wAnimSoundID = 0xFF;
}

/* ------------------------------------------------------------------ a move */
static uint16_t modified(uint16_t value, uint8_t mod) {
    value = (uint16_t)((uint32_t)value * modifiers[mod - 1] / 100);
    return value ? value : 1;
}

static uint8_t effectiveness;

static uint16_t damage(uint8_t who) {
    volatile uint8_t *a = who ? FOE : ME, *d = who ? ME : FOE;
    volatile uint8_t *am = who ? wEnemyMonStatMods : wPlayerMonStatMods, *dm = who ? wPlayerMonStatMods : wEnemyMonStatMods;
    uint8_t type = move_record[13], level = a[LEVEL], critical, f;
    uint16_t attack, defense;
    uint32_t value;
    load_species(a[SPECIES]);
    critical = random() < (uint8_t)(species_record[17] >> 1);
    if (type < 0x14) {
        attack = big(a + ATTACK);
        defense = big(d + DEFENSE);
        if (!critical) { attack = modified(attack, am[0]); defense = modified(defense, dm[1]); }
        if (a[STATUS] & 16) attack = (attack >> 1) + 1;
    } else {
        attack = big(a + SPECIAL);
        defense = big(d + SPECIAL);
    }
    value = (uint16_t)(level << 1) / 5 + 2;
    if (critical) value <<= 1;
    value = value * move_record[14] * attack / defense / 50 + 2;
    if (type == a[TYPE1] || type == a[TYPE2]) value = value * 3 >> 1;
    effectiveness = 10;
    f = matchup(type, d[TYPE1]);
    value = value * f / 10;
    effectiveness = f;
    if (d[TYPE2] != d[TYPE1]) {
        f = matchup(type, d[TYPE2]);
        value = value * f / 10;
        if (f != 10) effectiveness = effectiveness == 10 ? f : effectiveness == f ? f : 10;
    }
    f = random() % 39;
    value = value * (uint16_t)(217 + f) / 255;
    if (!value) value = 1;
    if (value > 999) value = 999;
    set_big(wDamage, (uint16_t)value);
    if (critical) effectiveness |= 0x80;
    return (uint16_t)value;
}

static void lower(uint8_t who, uint8_t what) {
    volatile uint8_t *mods = who ? wEnemyMonStatMods : wPlayerMonStatMods;
    if (mods[what] == 1) { say(TEXT_NOTHING_HAPPENED); delay_frames(24); return; }
    mods[what]--;
    announce(who, what ? TEXT_DEFENSE_FELL : TEXT_ATTACK_FELL);
}

static void inflict(uint8_t who, uint8_t status, uint8_t text) {
    volatile uint8_t *b = who ? FOE : ME;
    if (b[STATUS] || !big(b + HP)) return;
    b[STATUS] = status;
    if (who) hud_foe(); else hud_me();
    announce(who, text);
}

/* Replaces a move by one of the other side until the battle ends; its PP stay. */
static void copy_move(uint8_t who, uint8_t slot) {
    volatile uint8_t *a = who ? FOE : ME, *d = who ? ME : FOE;
    uint8_t i, move;
    if (slot > 3) return;
    if (who) do { i = random() & 3; } while (!d[MOVES + i]);
    else i = move_list(0, d + MOVES, 1);
    move = d[MOVES + i];
    a[MOVES + slot] = move;
    load_move(move);
    copy_name(wStringBuffer, move_record + 1);
    announce(who, TEXT_MIMICKED);
}

static void use_move(uint8_t who, uint8_t move, uint8_t slot) {
    volatile uint8_t *a = who ? FOE : ME, *d = who ? ME : FOE;
    uint8_t status = a[STATUS], effect, left;
    uint16_t hurt, hp;
    hWhoseTurn = who;
    if (status & 7) {
        status--;
        a[STATUS] = status;
        if (status & 7) { announce(who, TEXT_SLEEPS); return; }
        if (who) hud_foe(); else hud_me();
        announce(who, TEXT_WOKE);
        return;
    }
    if ((status & 64) && random() < 64) { announce(who, TEXT_CANNOT_MOVE); return; }
    load_move(move);
    if (slot < 4) {
        left = a[PP + slot];
        if (left & 63) a[PP + slot] = left - 1;
    }
    copy_name(wStringBuffer, move_record + 1);
    announce(who, TEXT_USED);
    if (random() > move_record[15]) { announce(who, TEXT_MISSED); return; }
    animate(who, move);
    effect = move_record[17];
    if (move_record[14]) {
        hurt = damage(who);
        hp = big(d + HP);
        run_bar(!who, hp > hurt ? hp - hurt : 0);
        if (effectiveness & 0x80) { say(TEXT_CRITICAL); delay_frames(24); }
        effectiveness &= 0x7F;
        if (effectiveness > 10) { say(TEXT_EFFECTIVE); delay_frames(24); }
        else if (effectiveness < 10) { say(TEXT_NOT_EFFECTIVE); delay_frames(24); }
        if (effect == BURN && random() < 26) inflict(!who, 16, TEXT_BURNED);
        else if (effect == PARALYZE && random() < 26) inflict(!who, 64, TEXT_PARALYZED);
        else if (effect == POISONING && random() < 52) inflict(!who, 8, TEXT_POISONED);
    } else if (effect == COPY) copy_move(who, slot);
    else if (effect == LOWER_ATTACK) lower(!who, 0);
    else if (effect == LOWER_DEFENSE) lower(!who, 1);
    else if (effect == SLEEP) {
        if (d[STATUS]) { say(TEXT_NOTHING_HAPPENED); delay_frames(24); }
        else inflict(!who, 2 + (random() & 3), TEXT_FELL_ASLEEP);
    }
}

/* poison and burn, after the creature's turn */
static void suffer(uint8_t who) {
    volatile uint8_t *a = who ? FOE : ME;
    uint16_t hp = big(a + HP), part;
    if (!hp || !(a[STATUS] & 24)) return;
    announce(who, a[STATUS] & 8 ? TEXT_HURT_POISON : TEXT_HURT_BURN);
    part = big(a + MAX_HP) >> 4;
    if (!part) part = 1;
    run_bar(who, hp > part ? hp - part : 0);
}

/* ------------------------------------------------------------------ sending out */
static void neutral(volatile uint8_t *mods) { fill_bytes(mods, 7, 6); }

static void send_out(uint8_t index) {
    wPlayerMonNumber = index;
    to_battle(ME, MON(index), index);
    copy_name(wBattleMonNick, wPartyMonNicks + (uint16_t)index * 11);
    neutral(wPlayerMonStatMods);
    wPlayerBattleStatus1 = 0;
    wPlayerMoveListIndex = 0;
    load_back(ME[SPECIES]);
    announce(0, TEXT_GO);
    put_picture(1, 6, 0x31);
    hud_me();
}

/* What the retail game's LoadEnemyMonData fills; in the wild it leaves wEnemyMonPartyPos as it was. */
static void load_foe(uint8_t index) {
    uint8_t n;
    to_battle(FOE, wEnemyMons + (uint16_t)index * 44, battle_trainer ? index : wEnemyMonPartyPos);
    load_species(FOE[SPECIES]);
    copy_name(wEnemyMonNick, species_record + 1);
    n = species_record[19];
    wEnemyMonActualCatchRate = n;
    neutral(wEnemyMonStatMods);
    wEnemyBattleStatus1 = 0;
    wCurEnemyLevel = FOE[LEVEL];
    set_flag(wPokedexSeen, book_number(FOE[SPECIES]));
}

/* Switching in battle: 1 when a turn was spent. */
static uint8_t choose_next(uint8_t forced) {
    uint8_t i;
    for (;;) {
        wForcePlayerToChooseMon = forced;
        i = party_menu(2);
        fill_bytes(wShadowOAM, 0, 160);
        if (i == 0xFF) { redraw(); return 0; }
        if (!big(MON(i) + 1)) { say(TEXT_NO_WILL); delay_frames(40); continue; }
        if (!forced && i == wPlayerMonNumber) { say(TEXT_ALREADY_OUT); delay_frames(40); continue; }
        break;
    }
    if (!forced) from_battle();
    set_big(ME + HP, 0);
    redraw();
    send_out(i);
    return 1;
}

/* ------------------------------------------------------------------ menus */
/* row + 2 * column: 0 fight, 1 item, 2 team, 3 run */
static uint8_t battle_menu(void) {
    uint8_t key, row, column, saved = wBattleAndStartSavedMenuItem & 3;
    row = saved & 1;
    column = saved >> 1;
    message_box();
    box(8, 12, 12, 6);
    wTextBoxID = 0x0B;
    put(10, 14, "FIGHT");
    put(16, 14, "PAL");
    put(10, 16, "ITEM");
    put(16, 16, "RUN");
    for (;;) {
        menu(14, column ? 15 : 9, 1, column ? K_A | K_LEFT : K_A | K_RIGHT);
        wCurrentMenuItem = wLastMenuItem = row;
        key = handle_menu_input();
        row = wCurrentMenuItem;
        if (key & K_A) break;
        *(volatile uint8_t *)wMenuCursorLocation = 0x7F;
        column ^= 1;
    }
    hollow_cursor();
    saved = row + (uint8_t)(column << 1);
    wBattleAndStartSavedMenuItem = saved;
    return saved;
}

static uint8_t moves_known(void) {
    uint8_t n = 0;
    while (n < 4 && ME[MOVES + n]) n++;
    return n;
}

static void draw_moves(uint8_t n) {
    uint8_t i;
    box(4, 12, 16, 6);
    for (i = 0; i < 4; i++) {
        if (i >= n) { put(6, (uint8_t)(13 + i), "-"); continue; }
        load_move(ME[MOVES + i]);
        put_name(6, (uint8_t)(13 + i), move_record + 1);
    }
}

/* Slot of the chosen move, 0xFF for B. Counts its lines from 1, as the retail game does. */
static uint8_t move_menu(void) {
    uint8_t key, n = moves_known(), i, t, u;
    volatile uint8_t *mine;
    draw_moves(n);
    wMoveMenuType = 0;
    hUILayoutFlags |= 2;
    menu(12, 5, (uint8_t)(n + 1), 0xC7);
    i = wPlayerMoveListIndex < n ? wPlayerMoveListIndex + 1 : 1;
    wCurrentMenuItem = wLastMenuItem = i;
    wMenuItemToSwap = 0;
    for (;;) {
        box(0, 8, 11, 5);
        put(1, 9, "PP");
        i = wCurrentMenuItem;
        load_move(ME[MOVES + i - 1]);
        put_number(4, 9, ME[PP + i - 1] & 63, 2);
        put(6, 9, "/");
        put_number(7, 9, move_record[16], 2);
        put(1, 11, move_record[14] ? "HITS" : "STATUS");
        key = handle_menu_input();
        i = wCurrentMenuItem;
        if (key & (K_UP | K_DOWN)) {
            if (i == 0) i = n;
            else if (i > n) i = 1;
            wCurrentMenuItem = i;
            continue;
        }
        if (key & K_SELECT) {
            if (!wMenuItemToSwap) { wMenuItemToSwap = i; continue; }
            i--;
            key = wMenuItemToSwap - 1;
            t = ME[MOVES + i]; u = ME[MOVES + key]; ME[MOVES + i] = u; ME[MOVES + key] = t;
            t = ME[PP + i]; u = ME[PP + key]; ME[PP + i] = u; ME[PP + key] = t;
            /* in the team too, where a copied move has its old number */
            mine = MON(wPlayerMonNumber) + 8;
            t = mine[i]; u = mine[key]; mine[i] = u; mine[key] = t;
            copy_bytes(mine + 0x15, ME + PP, 4);
            wMenuItemToSwap = 0;
            draw_moves(n);
            continue;
        }
        break;
    }
    hUILayoutFlags &= (uint8_t)~2;
    wPlayerMoveListIndex = i - 1;
    redraw();
    if (key & K_B) return 0xFF;
    return i - 1;
}

static uint8_t any_pp(void) {
    uint8_t i;
    for (i = 0; i < 4; i++)
        if (ME[MOVES + i] && (ME[PP + i] & 63)) return 1;
    return 0;
}

/* ------------------------------------------------------------------ nets */
/* 1 caught, 0 not */
static uint8_t throw_net(void) {
    uint16_t hp = big(FOE + HP), most = big(FOE + MAX_HP);
    uint8_t i, rate, result, number, book;
    say(TEXT_THREW_NET);
    delay_frames(30);
    blank(13, 0, 6, 6);
    /* full health: a third of the rate; a status helps */
    rate = wEnemyMonActualCatchRate;
    rate = (uint8_t)((uint32_t)rate * (3 * most - 2 * hp) / (3 * most));
    if (FOE[STATUS]) rate = rate > 205 ? 255 : rate + 50;
    for (i = 0; i < 3; i++) {
        delay_frames(30);
        put(16, 4, "*");
        delay_frames(10);
        put(16, 4, " ");
    }
    if (random() > rate) {
        put_picture(13, 0, 0);
        announce(1, TEXT_BROKE_FREE);
        return 0;
    }
    number = FOE[SPECIES];
    wCapturedMonSpecies = number;
    copy_name(wNameBuffer, wEnemyMonNick);
    say(TEXT_CAUGHT);
    set_event(EVENT_CAUGHT_FIRST);
    book = book_number(number);
    if (!flag(wPokedexOwned, book)) {
        set_flag(wPokedexOwned, book);
        say(TEXT_NEW_PAGE);
        FAR_CALL(5, book_page);
    }
    say(TEXT_NICKNAME);
    if (!yes_no()) FAR_CALL(5, name_creature);
    if (wPartyCount < 6) {
        result = wPartyCount;
        give_mon(number, FOE[LEVEL]);
        copy_bytes(MON(result) + 0x1B, FOE + DVS, 2);
        compute_stats(MON(result));
        copy_bytes(MON(result) + 1, FOE + 1, 2);
        MON(result)[4] = FOE[STATUS];
        copy_name(wPartyMonNicks + (uint16_t)result * 11, wNameBuffer);
    } else {
        FAR_CALL(5, put_in_box);
        message_box();
        say(TEXT_TO_BOX);
    }
    return 1;
}

/* ------------------------------------------------------------------ a battle from begin to end */
static void begin_screen(void) {
    uint8_t i;
    fill_bytes(wShadowOAM, 0, 160);
    wUpdateSpritesEnabled = 0xFF;
    for (i = 0; i < 3; i++) {
        rBGP = 0x1B;
        delay_frames(6);
        rBGP = 0xE4;
        delay_frames(6);
    }
    fill_bytes(wTileMap, 0x7F, 360);
    rBGP = 0xE4;
    message_box();
    hAutoBGTransferEnabled = 1;
    delay3();
    hWY = 0;
    set_big(ME + HP, 0);
}

/* 0 ran or was caught, 1 won, 2 lost */
static uint8_t fight(void) {
    uint8_t choice, slot, foe_slot, foe_move, my_move, n, foe_index = 0, i, first;
    uint16_t mine, theirs;
    for (;;) {
        for (;;) { /* the player's order */
            slot = 4;
            my_move = 0;
            choice = battle_menu();
            if (choice == 0) {
                if (!any_pp()) { announce(0, TEXT_NO_PP_AT_ALL); my_move = 33; break; }
                slot = move_menu();
                if (slot == 0xFF) continue;
                my_move = ME[MOVES + slot];
                if (ME[PP + slot] & 63) break;
                say(TEXT_NO_PP);
                delay_frames(40);
                continue;
            }
            if (choice == 1) {
                from_battle();
                n = battle_bag();
                after_item();
                redraw();
                if (n == 2) {
                    if (battle_trainer) { say(TEXT_NO_NET); delay_frames(40); continue; }
                    if (wPartyCount == 6 && wBoxCount == 20) { say(TEXT_NO_ROOM); delay_frames(40); continue; }
                    take_item(ITEM_NET, 1);
                    if (throw_net()) return 0;
                    break;
                }
                if (n) break;
                continue;
            }
            if (choice == 2) {
                if (choose_next(0)) break;
                continue;
            }
            if (battle_trainer) { say(TEXT_NO_RUNNING); delay_frames(40); continue; }
            run_tries++;
            mine = big(ME + SPEED);
            theirs = big(FOE + SPEED);
            if (mine >= theirs || random() < (uint16_t)(mine * 32 / ((theirs >> 2) + 1)) + 30 * run_tries) {
                wEscapedFromBattle = 1;
                say(TEXT_GOT_AWAY);
                return 0;
            }
            say(TEXT_CANNOT_RUN);
            delay_frames(40);
            break;
        }
        wPlayerSelectedMove = my_move;
        do { foe_slot = random() & 3; } while (!FOE[MOVES + foe_slot]);
        foe_move = FOE[MOVES + foe_slot];
        wEnemySelectedMove = foe_move;
        first = 1;
        if (my_move) {
            mine = big(ME + SPEED);
            theirs = big(FOE + SPEED);
            if (ME[STATUS] & 64) mine >>= 2;
            if (FOE[STATUS] & 64) theirs >>= 2;
            first = mine > theirs || (mine == theirs && (random() & 1));
            load_move(my_move);
            n = move_record[17] == FIRST;
            load_move(foe_move);
            i = move_record[17] == FIRST;
            if (n != i) first = n;
        }
        for (i = 0; i < 2; i++) {
            if ((i == 0) == first) {
                if (my_move && big(ME + HP) && big(FOE + HP)) { use_move(0, my_move, slot); suffer(0); }
            } else if (big(ME + HP) && big(FOE + HP)) {
                use_move(1, foe_move, foe_slot);
                suffer(1);
            }
        }
        if (!big(FOE + HP)) {
            blank(13, 0, 6, 6);
            blank(1, 0, 11, 3);
            name_of(1);
            say(TEXT_FAINTED);
            from_battle();
            if (big(ME + HP)) {
                load_species(FOE[SPECIES]);
                mine = (uint16_t)species_record[20] * FOE[LEVEL] / 7;
                if (battle_trainer) mine += mine >> 1;
                gain_experience(wPlayerMonNumber, mine);
                to_battle(ME, MON(wPlayerMonNumber), wPlayerMonNumber);
                hud_me();
            }
            foe_index++;
            if (foe_index >= foes_left) {
                if (!big(ME + HP) && !party_alive()) return 2;
                return 1;
            }
        }
        if (!big(ME + HP)) {
            from_battle();
            blank(1, 6, 6, 6);
            blank(9, 7, 11, 4);
            name_of(0);
            say(TEXT_FAINTED);
            if (!party_alive()) return 2;
            choose_next(1);
        }
        if (!big(FOE + HP)) {
            load_foe(foe_index);
            load_picture(FOE[SPECIES], 0x9000);
            load_class(wTrainerClass);
            copy_name(wStringBuffer, wEnemyMonNick);
            say(TEXT_SENDS_NEXT);
            delay_frames(20);
            redraw();
        }
    }
}

static void prize(void) {
    uint8_t money, i, amount[3], each[3];
    money = load_class(wTrainerClass);
    money_of(each, money);
    amount[0] = amount[1] = amount[2] = 0;
    for (i = 0; i < wCurEnemyLevel; i++) money_add(amount, each);
    money_add(wPlayerMoney, amount);
    say(TEXT_DEFEATED);
    pNumber = (uint16_t)money * wCurEnemyLevel;
    say(TEXT_PRIZE);
}

/* wIsInBattle is set after the transition; until the first one comes out, after the text, wEnemyMon is that of the
   battle before and wEnemyMonPartyPos is 0xFF. */
static void meet_trainer(void) {
    uint8_t i, species, level;
    load_trainer((uint8_t)(battle_trainer - 1));
    i = trainer_record[0];
    wTrainerClass = i;
    i = trainer_record[1];
    wTrainerNo = i;
    foes_left = trainer_record[2];
    for (i = 0; i < foes_left; i++) {
        level = trainer_record[3 + (i << 1)];
        species = trainer_record[4 + (i << 1)];
        if (!species) species = wRivalStarter;
        make_mon(wEnemyMons + (uint16_t)i * 44, species, level);
        wEnemyPartySpecies[i] = species;
    }
    wEnemyPartySpecies[foes_left] = 0xFF;
    wEnemyPartyCount = foes_left;
    begin_screen();
    wEnemyMonPartyPos = 0xFF;
    wIsInBattle = 2;
    load_class(wTrainerClass);
    say(TEXT_WANTS_TO_FIGHT);
    load_foe(0);
    copy_name(wStringBuffer, wEnemyMonNick);
    load_class(wTrainerClass);
    say(TEXT_SENDS_OUT);
    delay_frames(20);
}

/* wIsInBattle is set and the creature loaded before the transition. */
static void meet_creature(void) {
    wTrainerClass = 0;
    wIsInBattle = 1;
    make_mon(wEnemyMons, wCurOpponent, wCurEnemyLevel);
    foes_left = 1;
    load_foe(0);
    begin_screen();
}

static void battle(void) {
    uint8_t i, result;
    run_tries = 0;
    wEscapedFromBattle = 0;
    wCapturedMonSpecies = 0;
    wBattleType = 0;
    wBattleResult = 0;
    wPlayerMoveListIndex = 0;
    wBattleAndStartSavedMenuItem = 0;
    wCanEvolveFlags = 0;
    wAnimSoundID = 0xFF;
    if (battle_trainer) meet_trainer();
    else meet_creature();
    load_picture(FOE[SPECIES], 0x9000);
    put_picture(13, 0, 0);
    hud_foe();
    if (!battle_trainer) {
        copy_name(wNameBuffer, wEnemyMonNick);
        say(TEXT_WILD_APPEARED);
    }
    for (i = 0; !big(MON(i) + 1); i++) {}
    send_out(i);
    result = fight();
    from_battle();
    if (result == 1) {
        if (battle_trainer) prize();
        evolve_after_battle();
    }
    if (result == 2) {
        wBattleResult = 1;
        if (battle_trainer == TRAINER_RIVAL_LAB + 1) {
            /* the first battle may be lost: the story goes on, as in the retail game */
            say(TEXT_LOST_LAB);
            heal_party();
            wIsInBattle = 0;
            battle_won = battle_trainer;
        } else {
            say(TEXT_NO_MORE);
            wIsInBattle = 0xFF;
        }
    } else {
        wBattleResult = wEscapedFromBattle ? 2 : 0;
        wIsInBattle = 0;
        battle_won = battle_trainer;
    }
    wCurOpponent = 0;
    wNumberOfNoRandomBattleStepsLeft = 3;
    battle_trainer = 0;
    wUpdateSpritesEnabled = 1;
    wStatusFlags4 |= 0x20;
}

/* Called after every step and every turn on the spot; 1 when there was a battle. */
uint8_t battle_check(void) {
    uint8_t slot, n;
    static const uint8_t chances[] = {51, 102, 141, 166, 191, 216, 229, 242, 253, 255};
    if (wCurOpponent) {
        battle();
        return 1;
    }
    if (!wPartyCount || !wGrassRate || wNumberOfNoRandomBattleStepsLeft || wIsInBattle || (wStatusFlags5 & 0x80)) return 0;
    if (wGrassTile != 0xFF && wTileMap[9 * 20 + 9] != wGrassTile) return 0;
    if (wXCoord >= wCurrentMapWidth2 || wYCoord >= wCurrentMapHeight2) return 0;
    if (hRandomAdd >= wGrassRate) return 0;
    if (wRepelRemainingSteps) return 0;
    n = hRandomSub;
    for (slot = 0; slot < 9 && n > chances[slot]; slot++) {}
    slot <<= 1;
    n = wGrassMons[slot];
    wCurEnemyLevel = n;
    n = wGrassMons[slot + 1];
    wCurOpponent = n;
    battle_trainer = 0;
    battle();
    return 1;
}
