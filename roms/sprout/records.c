/* Records of the data banks, copied to RAM to be read; big-endian numbers; BCD money. */
#include "engine.h"

uint8_t species_record[36], move_record[18], item_record[18], trainer_record[9];

static void record(volatile uint8_t *to, uint16_t table, uint8_t size, uint8_t id) {
    uint8_t found;
    for (;; table += size) {
        pFarBank = BEAST_BANK;
        pFarPtr = table;
        found = far_byte();
        if (found == id || found == 0xFF) break;
    }
    pCopyLength = size;
    far_copy(to, table);
}

static uint8_t species_loaded;

void load_species(uint8_t id) {
    uint8_t i, found;
    uint16_t at = SPECIES_TABLE;
    if (species_loaded == id && id) return;
    for (i = 0; i < SPECIES_COUNT; i++, at += 36) {
        pFarBank = BEAST_BANK;
        pFarPtr = at;
        found = far_byte();
        if (found == id) break;
    }
    pCopyLength = 36;
    far_copy(species_record, at);
    species_loaded = id;
}

/* Number in the book, from 0. */
uint8_t book_number(uint8_t id) {
    uint8_t i;
    uint16_t at = SPECIES_TABLE;
    for (i = 0; i < SPECIES_COUNT; i++, at += 36) {
        pFarBank = BEAST_BANK;
        pFarPtr = at;
        if (far_byte() == id) break;
    }
    return i;
}

uint8_t book_species(uint8_t number) {
    pFarBank = BEAST_BANK;
    pFarPtr = SPECIES_TABLE + (uint16_t)number * 36;
    return far_byte();
}

void load_move(uint8_t id) { record(move_record, MOVE_TABLE, 18, id); }

void load_item(uint8_t id) { record(item_record, ITEM_TABLE, 18, id); }

void load_trainer(uint8_t number) {
    pFarBank = BEAST_BANK;
    pCopyLength = 9;
    far_copy(trainer_record, TRAINER_TABLE + (uint16_t)number * 9);
}

/* Name and prize of a trainer class, into wNameBuffer and as the result. */
uint8_t load_class(uint8_t id) {
    uint16_t at = CLASS_TABLE;
    uint8_t found;
    for (;; at += 13) {
        pFarBank = BEAST_BANK;
        pFarPtr = at;
        found = far_byte();
        if (found == id || found == 0xFF) break;
    }
    pCopyLength = 11;
    far_copy(wNameBuffer, at + 1);
    pFarPtr = at + 12;
    return far_byte();
}

/* x in tenths for one attacking type against one defending type */
uint8_t matchup(uint8_t attacker, uint8_t defender) {
    uint8_t a, b, factor;
    pFarBank = BEAST_BANK;
    pFarPtr = MATCHUP_TABLE;
    for (;;) {
        a = far_byte();
        if (a == 0xFF) return 10;
        b = far_byte();
        factor = far_byte();
        if (a == attacker && b == defender) return factor;
    }
}

/* The picture of a creature from the front: 36 tiles into video RAM. */
void load_picture(uint8_t species, uint16_t to) {
    load_species(species);
    pFarBank = BEAST_BANK;
    pCopyLength = 576;
    far_copy_vram((uint8_t *)to, (uint16_t)species_record[22] << 8 | species_record[21]);
}

/* Six lines of six tiles that follow one another. */
void put_picture(uint8_t x, uint8_t y, uint8_t tile) {
    volatile uint8_t *p = wTileMap + (uint16_t)y * 20 + x;
    uint8_t i, j;
    for (i = 0; i < 6; i++, p += 14)
        for (j = 0; j < 6; j++) *p++ = tile++;
}

void copy_name(volatile uint8_t *to, volatile const uint8_t *from) {
    uint8_t room = 19;
    while (*from != 0x50 && room--) *to++ = *from++;
    *to = 0x50;
}

void item_name(uint8_t item) {
    load_item(item);
    copy_name(wStringBuffer, item_record + 1);
}

uint16_t big(volatile const uint8_t *p) { return (uint16_t)p[0] << 8 | p[1]; }

void set_big(volatile uint8_t *p, uint16_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* three bytes of two digits */
uint8_t money_less(volatile const uint8_t *a, volatile const uint8_t *b) {
    uint8_t i;
    for (i = 0; i < 3; i++) {
        if (a[i] < b[i]) return 1;
        if (a[i] > b[i]) return 0;
    }
    return 0;
}

void money_add(volatile uint8_t *a, volatile const uint8_t *b) {
    uint8_t i = 3, carry = 0, low, high;
    while (i--) {
        low = (a[i] & 15) + (b[i] & 15) + carry;
        carry = 0;
        if (low > 9) { low -= 10; carry = 1; }
        high = (uint8_t)(a[i] >> 4) + (uint8_t)(b[i] >> 4) + carry;
        carry = 0;
        if (high > 9) { high -= 10; carry = 1; }
        a[i] = (uint8_t)(high << 4) | low;
    }
    if (carry) a[0] = a[1] = a[2] = 0x99;
}

void money_subtract(volatile uint8_t *a, volatile const uint8_t *b) {
    uint8_t i = 3, borrow = 0;
    int8_t low, high;
    while (i--) {
        low = (int8_t)((a[i] & 15) - (b[i] & 15) - borrow);
        borrow = 0;
        if (low < 0) { low += 10; borrow = 1; }
        high = (int8_t)((a[i] >> 4) - (b[i] >> 4) - borrow);
        borrow = 0;
        if (high < 0) { high += 10; borrow = 1; }
        a[i] = (uint8_t)(high << 4) | (uint8_t)low;
    }
}

void money_halve(volatile uint8_t *a) {
    uint8_t i, digit, rest = 0, high;
    for (i = 0; i < 3; i++) {
        digit = (uint8_t)(a[i] >> 4) + (rest ? 10 : 0);
        high = digit >> 1;
        rest = digit & 1;
        digit = (a[i] & 15) + (rest ? 10 : 0);
        rest = digit & 1;
        a[i] = (uint8_t)(high << 4) | (digit >> 1);
    }
}

/* a small number as money */
void money_of(volatile uint8_t *to, uint16_t value) {
    uint8_t d[5], i;
    for (i = 0; i < 5; i++) { d[i] = value % 10; value /= 10; }
    to[0] = d[4];
    to[1] = (uint8_t)(d[3] << 4) | d[2];
    to[2] = (uint8_t)(d[1] << 4) | d[0];
}

void put_money(uint8_t x, uint8_t y, volatile const uint8_t *p) {
    volatile uint8_t *out = wTileMap + (uint16_t)y * 20 + x;
    uint8_t i, digit, shown = 0;
    *out++ = 0xF0;
    for (i = 0; i < 6; i++) {
        digit = i & 1 ? p[i >> 1] & 15 : p[i >> 1] >> 4;
        if (digit || i == 5) shown = 1;
        *out++ = shown ? 0xF6 + digit : 0x7F;
    }
}

void put_name(uint8_t x, uint8_t y, volatile const uint8_t *name) {
    volatile uint8_t *out = wTileMap + (uint16_t)y * 20 + x;
    while (*name != 0x50) *out++ = *name++;
}
