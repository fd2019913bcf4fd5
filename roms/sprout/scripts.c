/* What people say and do. */
#include "engine.h"

void map_script(void) {}

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

void run_script(uint8_t number) {
    switch (number) {
        case SCRIPT_OTTI: otti(); break;
        case SCRIPT_POUCH: pouch(); break;
    }
}

static void act(void) {
    if (talk_kind == KIND_TEXT) say(talk_arg);
    else if (talk_kind == KIND_SCRIPT) run_script(talk_arg);
}

/* The box stays while A is held, as in the original. */
static void end_talk(void) {
    if (!wDoNotWaitForButtonPressAfterDisplayingText) wait_for_text_button();
    wDoNotWaitForButtonPressAfterDisplayingText = 0;
    do {
        joypad();
    } while (hJoyHeld & K_A);
    close_text();
}

void display_text(void) {
    if (talk_slot == 0xFF) {
        draw_start_menu();
        open_text();
        start_menu();
        do {
            joypad();
        } while (hJoyHeld & K_START);
        close_text();
        return;
    }
    if (talk_slot < 16 && talk_slot) face_player(talk_slot);
    message_box();
    open_text();
    act();
    end_talk();
}

void hidden_event(void) {
    message_box();
    open_text();
    act();
    end_talk();
}

uint8_t new_battle(void) { return 0; }
void after_battle(void) {}
