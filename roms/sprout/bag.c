/* The bag: pairs of item and quantity, 0xFF ends. */
#include "engine.h"

uint8_t has_item(uint8_t item) {
    volatile uint8_t *p = wBagItems;
    for (; *p != 0xFF; p += 2)
        if (*p == item) return p[1];
    return 0;
}

uint8_t give_item(uint8_t item, uint8_t count) {
    volatile uint8_t *p = wBagItems;
    for (; *p != 0xFF; p += 2)
        if (*p == item) {
            if ((uint8_t)(p[1] + count) > 99) return 0;
            p[1] += count;
            return 1;
        }
    if (wNumBagItems == 20) return 0;
    p[0] = item;
    p[1] = count;
    p[2] = 0xFF;
    wNumBagItems++;
    return 1;
}

void take_item(uint8_t item, uint8_t count) {
    volatile uint8_t *p = wBagItems;
    for (; *p != 0xFF; p += 2)
        if (*p == item) {
            p[1] -= count;
            if (p[1]) return;
            wNumBagItems--;
            do {
                p[0] = p[2];
                p[1] = p[3];
                p += 2;
            } while (p[-2] != 0xFF);
            return;
        }
}
