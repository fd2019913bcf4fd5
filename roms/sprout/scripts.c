/* Scripts of people, maps and trainers. */
#include "engine.h"
#include "story.h"

static uint8_t last_map, last_x, last_y, pending, plates_pressed;

#define ORDER (wGameProgressFlags + 150) /* the four plates in the order of the old stone, 1..4 */

static void item_received(uint8_t item, uint8_t text) {
    give_item(item, 1);
    say(text);
}

static void otti(void) {
    if (event(EVENT_RETURNED_SEED_POUCH)) say(TEXT_OTTI_AFTER);
    else if (event(EVENT_GOT_SEED_POUCH)) {
        take_item(ITEM_SEED_POUCH, 1);
        set_event(EVENT_RETURNED_SEED_POUCH);
        say(TEXT_OTTI_THANKS);
    } else if (event(EVENT_ASKED_BY_OTTI)) say(TEXT_OTTI_WAIT);
    else {
        say(TEXT_OTTI_ASK);
        set_event(EVENT_ASKED_BY_OTTI);
    }
}

static void pouch(void) {
    if (!give_item(ITEM_SEED_POUCH, 1)) { say(TEXT_BAG_FULL); return; }
    hide_object(TOGGLE_POUCH);
    set_event(EVENT_GOT_SEED_POUCH);
    say(TEXT_POUCH_FOUND);
}

static void rest(void) {
    uint8_t i;
    for (i = 0; i < 3; i++) {
        rBGP = 0xF9;
        delay_frames(10);
        rBGP = 0xE4;
        delay_frames(10);
    }
    heal_party();
    wStatusFlags4 |= 4;
}

static void grandma(void) {
    if (!wPartyCount) { say(TEXT_GRANDMA_1); return; }
    say(TEXT_GRANDMA_2);
    rest();
    set_event(EVENT_SOUP_WITH_GRANDMA);
    wLastBlackoutMap = MAP_MOSSBY;
    say(TEXT_GRANDMA_3);
}

static const uint8_t leaf_word[] = {0x8B, 0x84, 0x80, 0x85, 0x50}, flame_word[] = {0x85, 0x8B, 0x80, 0x8C, 0x84, 0x50},
                     wave_word[] = {0x96, 0x80, 0x95, 0x84, 0x50}, star_word[] = {0x92, 0x93, 0x80, 0x91, 0x50};

static const uint8_t *word_of(uint8_t plate) {
    switch (plate) {
        case 1: return leaf_word;
        case 2: return flame_word;
        case 3: return wave_word;
    }
    return star_word;
}

static void two_words(volatile uint8_t *to, uint8_t a, uint8_t b) {
    const uint8_t *p = word_of(a);
    while (*p != 0x50) *to++ = *p++;
    *to++ = 0x7F;
    p = word_of(b);
    while (*p != 0x50) *to++ = *p++;
    *to = 0x50;
}

/* Draws the order of the plates at random when it is first needed. */
static void throw_order(void) {
    uint8_t i, j, n;
    if (ORDER[0]) return;
    for (i = 0; i < 4; i++) {
        n = (random() & 3) + 1;
        for (j = 0; j < i; j++)
            if (ORDER[j] == n) { n = (n & 3) + 1; j = 0xFF; }
        ORDER[i] = n;
    }
}

static void old_stone(void) {
    if (event(EVENT_READ_OLD_STONE)) { say(TEXT_STONE_GONE); return; }
    throw_order();
    two_words(wNameBuffer, ORDER[0], ORDER[1]);
    two_words(wStringBuffer, ORDER[2], ORDER[3]);
    say(TEXT_STONE_ORDER);
    set_event(EVENT_READ_OLD_STONE);
}

static void scholar(void) {
    if (event(EVENT_HALL_OF_FAME)) say(TEXT_SCHOLAR_5);
    else if (event(EVENT_GOT_BOOK)) say(TEXT_SCHOLAR_4);
    else if (event(EVENT_GOT_PARCEL)) {
        say(TEXT_SCHOLAR_PARCEL);
        wait_for_text_button();
        take_item(ITEM_PARCEL, 1);
        set_event(EVENT_DELIVERED_PARCEL);
        give_item(ITEM_NET, 5);
        set_event(EVENT_GOT_BOOK);
        say(TEXT_SCHOLAR_BOOK);
    } else if (event(EVENT_BATTLED_RIVAL_IN_LAB)) say(TEXT_SCHOLAR_3);
    else if (event(EVENT_MET_SCHOLAR)) say(TEXT_SCHOLAR_2);
    else {
        say(TEXT_SCHOLAR_1);
        set_event(EVENT_MET_SCHOLAR);
    }
}

static void starter(uint8_t text, uint8_t species, uint8_t toggle, uint8_t others, uint8_t other_toggle) {
    if (!event(EVENT_MET_SCHOLAR) || event(EVENT_GOT_STARTER)) { say(TEXT_BALL_WAIT); return; }
    say(text);
    if (yes_no()) { wDoNotWaitForButtonPressAfterDisplayingText = 1; return; }
    hide_object(toggle);
    give_mon(species, 5);
    load_species(species);
    copy_name(wNameBuffer, species_record + 1);
    wPlayerStarter = species;
    wRivalStarter = others;
    wStatusFlags4 |= 8;
    set_event(EVENT_GOT_STARTER);
    say(TEXT_GOT_STARTER);
    wait_for_text_button();
    hide_object(other_toggle);
    set_flag(wToggleableObjectFlags, TOGGLE_WOOD_GUARD);
    say(TEXT_RIVAL_TAKES);
}

static void healer(void) {
    if (!wPartyCount) { say(TEXT_HEAL_NOBODY); return; }
    say(TEXT_HEAL_ASK);
    /* heal / cancel: the two-option box, three columns to the left */
    copy_bytes(wTileMapBackup2, wTileMap, 360);
    box(11, 7, 9, 5);
    put(13, 8, "HEAL");
    put(13, 10, "CANCEL");
    wTextBoxID = 0x14;
    wTwoOptionMenuID = 0;
    menu(8, 12, 1, K_A | K_B);
    if (handle_menu_input() & K_B) wCurrentMenuItem = 1;
    delay_frames(15);
    copy_bytes(wTileMap, wTileMapBackup2, 360);
    if (wCurrentMenuItem) { say(TEXT_HEAL_NO); return; }
    rest();
    set_event(EVENT_HEALED_ONCE);
    wLastBlackoutMap = wLastMap;
    say(TEXT_HEAL_DONE);
}

static void clerk(void) {
    if (!event(EVENT_GOT_PARCEL)) {
        set_event(EVENT_GOT_PARCEL);
        item_received(ITEM_PARCEL, TEXT_CLERK_PARCEL);
    } else if (!event(EVENT_DELIVERED_PARCEL)) say(TEXT_CLERK_REMIND);
    else {
        FAR_CALL(5, shop);
        wDoNotWaitForButtonPressAfterDisplayingText = 1;
    }
}

static void lamplighter(void) {
    if (event(EVENT_GOT_LANTERN)) say(TEXT_LAMP_3);
    else if (event(EVENT_GOT_BOOK)) {
        set_event(EVENT_GOT_LANTERN);
        item_received(ITEM_LANTERN, TEXT_LAMP_2);
    } else say(TEXT_LAMP_1);
}

static void keeper(void) {
    if (!has_item(ITEM_GATE_PASS)) { say(TEXT_KEEPER_NO); return; }
    say(TEXT_KEEPER_YES);
    set_event(EVENT_SHOWED_GATE_PASS);
    hide_object(TOGGLE_KEEPER);
}

static void summit_guard(void) {
    if ((wObtainedBadges & 3) != 3) { say(TEXT_GUARD_NO); return; }
    say(TEXT_GUARD_YES);
    set_event(EVENT_SUMMIT_OPEN);
    hide_object(TOGGLE_SUMMIT_GUARD);
}

static void machine(void) {
    if (!event(EVENT_BEAT_CHAMPION)) { say(TEXT_MACHINE_1); return; }
    set_event(EVENT_HALL_OF_FAME);
    wLastMap = MAP_MOSSBY;
    wLastBlackoutMap = MAP_MOSSBY;
    heal_party();
    FAR_CALL(5, hall_of_fame); /* restarts the game */
}

void run_script(uint8_t number) {
    switch (number) {
        case SCRIPT_OTTI: otti(); break;
        case SCRIPT_POUCH: pouch(); break;
        case SCRIPT_GRANDMA: grandma(); break;
        case SCRIPT_OLD_STONE: old_stone(); break;
        case SCRIPT_SCHOLAR: scholar(); break;
        case SCRIPT_RIVAL: say(event(EVENT_GOT_STARTER) ? TEXT_RIVAL_2 : TEXT_RIVAL_1); break;
        case SCRIPT_STARTER_LEAF:
            starter(TEXT_CHOOSE_LEAF, SPECIES_LEAFLING, TOGGLE_STARTER_LEAF, SPECIES_EMBERKIT, TOGGLE_STARTER_EMBER);
            break;
        case SCRIPT_STARTER_EMBER:
            starter(TEXT_CHOOSE_EMBER, SPECIES_EMBERKIT, TOGGLE_STARTER_EMBER, SPECIES_PUDDLIN, TOGGLE_STARTER_PUDDLE);
            break;
        case SCRIPT_STARTER_PUDDLE:
            starter(TEXT_CHOOSE_PUDDLE, SPECIES_PUDDLIN, TOGGLE_STARTER_PUDDLE, SPECIES_LEAFLING, TOGGLE_STARTER_LEAF);
            break;
        case SCRIPT_AFTER_LAB_BATTLE:
            heal_party();
            say(TEXT_LAB_AFTER);
            hide_object(TOGGLE_LAB_RIVAL);
            set_event(EVENT_RIVAL_LEFT_LAB);
            break;
        case SCRIPT_AFTER_RIVAL_PATH:
            say(TEXT_RIVAL_PATH_AFTER);
            hide_object(TOGGLE_RIVAL_PATH);
            break;
        case SCRIPT_HEALER: healer(); break;
        case SCRIPT_CLERK: clerk(); break;
        case SCRIPT_STALL:
            FAR_CALL(5, shop);
            wDoNotWaitForButtonPressAfterDisplayingText = 1;
            break;
        case SCRIPT_LAMPLIGHTER: lamplighter(); break;
        case SCRIPT_AFTER_LEADER_STONE:
            wObtainedBadges |= 1;
            wBeatGymFlags |= 1;
            set_event(EVENT_GOT_GATE_PASS);
            item_received(ITEM_GATE_PASS, TEXT_BADGE_1);
            break;
        case SCRIPT_AFTER_LEADER_TIDE:
            wObtainedBadges |= 2;
            wBeatGymFlags |= 2;
            say(TEXT_BADGE_2);
            wait_for_text_button();
            if (give_item(ITEM_HONEY_JAR, 1)) set_event(EVENT_GOT_TIDE_GIFT);
            say(TEXT_TIDE_GIFT);
            break;
        case SCRIPT_AFTER_CHAMPION:
            say(TEXT_CHAMPION_AFTER);
            hide_object(TOGGLE_CHAMPION);
            break;
        case SCRIPT_KEEPER: keeper(); break;
        case SCRIPT_SUMMIT_GUARD: summit_guard(); break;
        case SCRIPT_PLATES:
            throw_order();
            say(TEXT_PLATES_1);
            break;
        case SCRIPT_MACHINE: machine(); break;
        case SCRIPT_BOX:
            if (!wPartyCount) { say(TEXT_EMPTY_POCKET); break; }
            FAR_CALL(5, box_screen);
            wDoNotWaitForButtonPressAfterDisplayingText = 1;
            break;
        case SCRIPT_ITEM_PC:
            wMiscFlags |= 8;
            FAR_CALL(5, item_pc);
            wMiscFlags &= (uint8_t)~8;
            wDoNotWaitForButtonPressAfterDisplayingText = 1;
            break;
        case SCRIPT_WOOD_HONEY:
            if (event(EVENT_FOUND_WOOD_HONEY)) { say(TEXT_NOTHING); break; }
            if (!give_item(ITEM_HONEY_JAR, 1)) { say(TEXT_BAG_FULL); break; }
            set_event(EVENT_FOUND_WOOD_HONEY);
            set_flag(wObtainedHiddenItemsFlags, 0);
            say(TEXT_WOOD_HONEY);
            break;
    }
}

static uint8_t toggle_of(uint8_t slot) {
    uint8_t i;
    for (i = 0; wToggleableObjectList[i] != 0xFF; i += 2)
        if (wToggleableObjectList[i] == slot) return wToggleableObjectList[i + 1];
    return 0xFF;
}

static void pick_up(void) {
    uint8_t toggle = toggle_of(talk_slot);
    item_name(talk_arg);
    if (!give_item(talk_arg, 1)) { say(TEXT_BAG_FULL); return; }
    hide_object(toggle);
    if (toggle_event[toggle] != 0xFF) set_event(toggle_event[toggle]);
    say(TEXT_FOUND_ITEM);
}

static void act(void) {
    if (talk_kind == KIND_TEXT) say(talk_arg);
    else if (talk_kind == KIND_SCRIPT) run_script(talk_arg);
    else if (talk_kind == KIND_ITEM) pick_up();
    else if (event(trainer_event[talk_arg])) say(trainer_after[talk_arg]);
    else if (!wPartyCount) say(TEXT_EMPTY_POCKET);
    else {
        say(trainer_before[talk_arg]);
        wDoNotWaitForButtonPressAfterDisplayingText = 1;
        start_trainer(talk_arg);
    }
}

/* The box stays while A is held, as in the retail game. */
static void end_talk(void) {
    if (!wDoNotWaitForButtonPressAfterDisplayingText) wait_for_text_button();
    wDoNotWaitForButtonPressAfterDisplayingText = 0;
    do {
        joypad();
    } while (hJoyHeld & K_A);
    close_text();
}

static void open_menu(void) {
    draw_start_menu();
    open_text();
    start_menu();
    do {
        joypad();
    } while (hJoyHeld & K_START);
    close_text();
}

void display_text(void) {
    if (talk_slot == 0xFF) { open_menu(); return; }
    if (talk_slot < 16 && talk_slot) face_player(talk_slot);
    message_box();
    open_text();
    act();
    end_talk();
}

void hidden_event(void) {
    talk_slot = 0;
    message_box();
    open_text();
    act();
    end_talk();
}

void trainer_beaten(uint8_t number) {
    set_event(trainer_event[number]);
    pending = trainer_script[number];
    if (pending != 0xFF) pending++;
    else pending = 0;
}

/* ------------------------------------------------------------------ map scripts */
static void spoken(uint8_t text) {
    message_box();
    open_text();
    say(text);
    end_talk();
}

/* A trainer who sees the player walks up and fights. */
static uint8_t look_out(void) {
    uint8_t i, distance, x, y, d, number;
    if (!wPartyCount) return 0;
    for (i = 1; i <= wNumSprites; i++) {
        volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)i << 4), *s2 = wSpriteStateData2 + ((uint16_t)i << 4);
        if (!s1[0] || object_kind(i) != KIND_TRAINER) continue;
        number = talk_arg;
        if (event(trainer_event[number])) continue;
        x = s2[5] - 4;
        y = s2[4] - 4;
        d = s1[9];
        for (distance = 1; distance <= 4; distance++) {
            if (d == FACE_DOWN) y++;
            else if (d == FACE_UP) y--;
            else if (d == FACE_LEFT) x--;
            else x++;
            if (x == wXCoord && y == wYCoord) break;
        }
        if (distance > 4) continue;
        /* seen */
        wMiscFlags |= 1;
        wStatusFlags3 |= 0x40;
        wJoyIgnore = 0xFF;
        delay_frames(30);
        wStatusFlags5 |= 1;
        while (--distance) {
            wNPCNumScriptedSteps = distance;
            s1[3] = d == FACE_DOWN ? 1 : d == FACE_UP ? 0xFF : 0;
            s1[5] = d == FACE_RIGHT ? 1 : d == FACE_LEFT ? 0xFF : 0;
            s2[4] += s1[3];
            s2[5] += s1[5];
            s1[1] = 3;
            for (s2[0] = 16; s2[0];) {
                update_sprites();
                delay_frame();
            }
        }
        wNPCNumScriptedSteps = 0;
        wStatusFlags5 &= 0xFE;
        wJoyIgnore = 0;
        wPlayerFacing = d ^ 4;
        message_box();
        open_text();
        say(trainer_before[number]);
        close_text();
        wMiscFlags &= 0xFE;
        start_trainer(number);
        return 1;
    }
    return 0;
}

static void press_plate(uint8_t plate) {
    uint8_t n = plates_pressed;
    throw_order();
    if (event(EVENT_SOLVED_PLATES)) return;
    if (ORDER[n] != plate) {
        plates_pressed = ORDER[0] == plate ? 1 : 0;
        spoken(TEXT_PLATE_WRONG);
        if (plates_pressed) return;
        return;
    }
    plates_pressed = ++n;
    set_event(EVENT_PRESSED_FIRST_PLATE - 1 + n);
    if (n < 4) { spoken(TEXT_PLATE_CLICK); return; }
    hide_object(TOGGLE_BOULDER);
    spoken(TEXT_PLATE_OPEN);
}

static void poison_step(void) {
    uint8_t i;
    uint16_t hp;
    for (i = 0; i < wPartyCount; i++) {
        volatile uint8_t *mon = wPartyMons + (uint16_t)i * 44;
        hp = big(mon + 1);
        /* out of battle poison leaves one HP */
        if ((mon[4] & 8) && hp > 1) set_big(mon + 1, hp - 1);
    }
}

static void arrived(uint8_t map) {
    switch (map) {
        case MAP_BRINDLE: set_event(EVENT_REACHED_BRINDLE); break;
        case MAP_HIGHMERE: set_event(EVENT_REACHED_HIGHMERE); break;
        case MAP_PEBBLE_LANE: set_event(EVENT_ENTERED_PEBBLE_LANE); break;
        case MAP_TANGLEWOOD: set_event(EVENT_ENTERED_TANGLEWOOD); break;
        case MAP_CAVE_1F: set_event(EVENT_ENTERED_CAVE); break;
    }
    if (map < 8) wTownVisitedFlag[0] |= (uint8_t)(1 << map);
    plates_pressed = 0;
}

/* Before every poll of the pad while the player stands. */
void map_script(void) {
    uint8_t map = wCurMap, x = wXCoord, y = wYCoord, script;
    if (pending) {
        script = pending - 1;
        pending = 0;
        message_box();
        open_text();
        run_script(script);
        end_talk();
        return;
    }
    if (map == last_map && x == last_x && y == last_y) return;
    if (map != last_map) arrived(map);
    else {
        if (wRepelRemainingSteps) wRepelRemainingSteps--;
        if (!(wStepCounter & 3)) poison_step();
    }
    last_map = map;
    last_x = x;
    last_y = y;
    if (wCurOpponent || wIsInBattle) return;
    if (look_out()) return;
    if (map == MAP_LAB && y >= 8 && event(EVENT_GOT_STARTER) && !event(EVENT_BATTLED_RIVAL_IN_LAB)) {
        message_box();
        open_text();
        say(trainer_before[TRAINER_RIVAL_LAB]);
        close_text();
        start_trainer(TRAINER_RIVAL_LAB);
        return;
    }
    if (map == MAP_CAVE_B1F && (x == 9 || x == 17) && (y == 2 || y == 6)) press_plate((y == 6 ? 3 : 1) + (x == 17 ? 1 : 0));
}

/* ------------------------------------------------------------------ battles, as the main loop calls them */
void start_trainer(uint8_t number) {
    load_trainer(number);
    battle_trainer = number + 1;
    wCurOpponent = 200 + trainer_record[0];
}

uint8_t new_battle(void) {
    uint8_t fought;
    battle_won = 0;
    fought = FAR_CALL(6, battle_check);
    if (battle_won) trainer_beaten((uint8_t)(battle_won - 1));
    return fought;
}

/* Restores the map; after a lost battle at the place of the last healing, with half the money. */
void after_battle(void) {
    uint8_t map;
    hAutoBGTransferEnabled = 0;
    hUILayoutFlags = 0;
    if (wIsInBattle == 0xFF) {
        money_halve(wPlayerMoney);
        heal_party();
        wCurMap = wLastBlackoutMap;
        map = wCurMap;
        wXCoord = map == MAP_MOSSBY ? 3 : map == MAP_BRINDLE ? 5 : 8;
        wYCoord = map == MAP_MOSSBY ? 5 : map == MAP_BRINDLE ? 6 : 12;
        wPlayerFacing = 0;
        wIsInBattle = 0;
        wWalkCounter = 0;
        delay_frames(30);
    }
    wStatusFlags4 &= (uint8_t)~0x20;
}

/* A loaded or a new game: nothing is pending. */
void reset_scripts(void) {
    pending = 0;
    last_map = 0xFF;
    last_x = last_y = 0;
    plates_pressed = 0;
}
