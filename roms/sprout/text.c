/* Boxes, letters, opening and closing of texts. */
#include "engine.h"

static uint8_t cursor_x, cursor_y;

void copy_bytes(volatile uint8_t *to, volatile const uint8_t *from, uint16_t count) {
    while (count--) *to++ = *from++;
}

void fill_bytes(volatile uint8_t *to, uint8_t value, uint16_t count) {
    while (count--) *to++ = value;
}

uint8_t flag(volatile uint8_t *array, uint8_t bit) { return (uint8_t)(array[bit >> 3] >> (bit & 7)) & 1; }

void set_flag(volatile uint8_t *array, uint8_t bit) { array[bit >> 3] |= (uint8_t)(1 << (bit & 7)); }

uint8_t event(uint8_t bit) { return flag(wEventFlags, bit); }

void set_event(uint8_t bit) { set_flag(wEventFlags, bit); }

static volatile uint8_t *cell(uint8_t x, uint8_t y) {
    uint16_t row = (uint16_t)y << 2;
    return wTileMap + (row << 2) + row + x;
}

void box(uint8_t x, uint8_t y, uint8_t width, uint8_t height) {
    uint8_t i, j, left, middle, right;
    volatile uint8_t *p = cell(x, y);
    for (j = 0; j < height; j++) {
        if (j == 0) { left = 0x79; middle = 0x7A; right = 0x7B; }
        else if (j == (uint8_t)(height - 1)) { left = 0x7D; middle = 0x7A; right = 0x7E; }
        else { left = 0x7C; middle = 0x7F; right = 0x7C; }
        *p++ = left;
        for (i = 2; i < width; i++) *p++ = middle;
        *p++ = right;
        p += 20 - width;
    }
    /* people are hidden behind boxes */
    if ((wFontLoaded & 1) && wUpdateSpritesEnabled == 1) FAR_CALL(1, update_sprites);
}

/* ASCII of the C source to the codes of the character map */
static uint8_t code(char c) {
    if (c >= 'A' && c <= 'Z') return (uint8_t)(c - 'A' + 0x80);
    if (c >= 'a' && c <= 'z') return (uint8_t)(c - 'a' + 0xA0);
    if (c >= '0' && c <= '9') return (uint8_t)(c - '0' + 0xF6);
    switch (c) {
        case '.': return 0xE8;
        case '!': return 0xE7;
        case '?': return 0xE6;
        case '/': return 0xF3;
        case '-': return 0xE3;
        case ':': return 0x9C;
        case '*': return 0xF1;
        case '$': return 0xF0;
        case ',': return 0xF4;
    }
    return 0x7F;
}

void put(uint8_t x, uint8_t y, const char *letters) {
    volatile uint8_t *p = cell(x, y);
    while (*letters) *p++ = code(*letters++);
}

void put_number(uint8_t x, uint8_t y, uint16_t value, uint8_t digits) {
    volatile uint8_t *p = cell(x, y) + digits;
    do {
        *--p = (uint8_t)(0xF6 + value % 10);
        value /= 10;
        digits--;
    } while (value && digits);
    while (digits--) *--p = 0x7F;
}

/* A letter takes as many frames as the options say, one while A or B is held. Polls like the retail game: no HALT
   unless a key is held. */
static void letter_delay(void) {
    if ((wStatusFlags5 & 0x40) || !(wLetterPrintingDelayFlags & 1)) return;
    hFrameCounter = wOptions & 7;
    do {
        joypad();
        if (hJoyHeld & (K_A | K_B)) { delay_frame(); return; }
    } while (hFrameCounter);
}

static void arrow_and_wait(void) {
    *cell(18, 16) = 0xEE;
    joypad();
    delay3();
    wait_for_text_button();
    *cell(18, 16) = 0x7F;
}

static void clear_lines(void) {
    uint8_t i;
    for (i = 13; i < 17; i++) fill_bytes(cell(1, i), 0x7F, 18);
}

static void scroll_lines(void) {
    uint8_t i;
    for (i = 0; i < 2; i++) {
        copy_bytes(cell(1, 13), cell(1, 14), 18);
        copy_bytes(cell(1, 14), cell(1, 15), 18);
        copy_bytes(cell(1, 15), cell(1, 16), 18);
        fill_bytes(cell(1, 16), 0x7F, 18);
        delay_frames(5);
    }
}

static void letter(uint8_t c) {
    *cell(cursor_x++, cursor_y) = c;
    letter_delay();
}

static void name(volatile uint8_t *p) {
    while (*p != 0x50) letter(*p++);
}

static void number(void) {
    uint8_t digits[5], n = 0;
    uint16_t value = pNumber;
    do {
        digits[n++] = value % 10;
        value /= 10;
    } while (value);
    while (n) letter(0xF6 + digits[--n]);
}

void message_box(void) {
    box(0, 12, 20, 6);
    wTextBoxID = 1;
}

/* Prints a text of the data bank into the message box. */
void say(uint8_t text) {
    uint8_t c;
    uint16_t at;
    message_box();
    pFarBank = DATA_BANK;
    pFarPtr = TEXT_TABLE + 2 * (uint16_t)text;
    at = far_byte();
    at |= (uint16_t)far_byte() << 8;
    delay3();
    cursor_x = 1;
    cursor_y = 14;
    for (;;) {
        pFarBank = DATA_BANK;
        pFarPtr = at++;
        c = far_byte();
        switch (c) {
            case 0x50:
            case 0x57: return;
            case 0x58: arrow_and_wait(); return;
            case 0x4F: cursor_x = 1; cursor_y = 16; break;
            case 0x51:
                arrow_and_wait();
                clear_lines();
                delay_frames(20);
                cursor_x = 1;
                cursor_y = 14;
                break;
            case 0x55:
                arrow_and_wait();
                scroll_lines();
                cursor_x = 1;
                cursor_y = 16;
                break;
            case 0x52: name(wPlayerName); break;
            case 0x53: name(wRivalName); break;
            case 0x54: name(wNameBuffer); break;
            case 0x59: name(wStringBuffer); break;
            case 0x5A: number(); break;
            default: letter(c);
        }
    }
}

/* Between open_text and close_text wFontLoaded is 1 and the window covers the screen. */
void open_text(void) {
    wListMenuID = 0;
    wFontLoaded |= 1;
    wLetterPrintingDelayFlags = 1;
    hAutoBGTransferEnabled = 1;
    update_sprites();
    delay3();
    hWY = 0;
}

void close_text(void) {
    hWY = 144;
    delay_frame();
    hAutoBGTransferEnabled = 0;
    wFontLoaded = 0;
    refresh_map();
}
