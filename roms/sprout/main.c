/* Power-on to the first step. */
#include "engine.h"

static const uint8_t start_name[] = {0x85, 0x84, 0x91, 0x8D, 0x50}; /* FERN */
static const uint8_t start_rival[] = {0x81, 0x91, 0x88, 0x80, 0x91, 0x50}; /* BRIAR */

static void new_game(void) {
    uint8_t i;
    for (i = 0; i < sizeof start_name; i++) wPlayerName[i] = start_name[i];
    for (i = 0; i < sizeof start_rival; i++) wRivalName[i] = start_rival[i];
    wPlayerMoney[1] = 0x30;
    wBagItems[0] = 0xFF;
    wPartySpecies[0] = 0xFF;
    wBoxItems[0] = 0xFF;
    wBoxSpecies[0] = 0xFF;
    wOptions = 3;
    wStatusFlags6 = 1;
    wCurMap = MAP_HOME_2F;
    wXCoord = 3;
    wYCoord = 6;
    wPlayerFacing = 0;
    random();
}

void save_game(void) {
    volatile uint8_t *ram = (volatile uint8_t *)0xA000;
    *(volatile uint8_t *)0x0000 = 0x0A;
    *(volatile uint8_t *)0x4000 = 1;
    copy_bytes(ram + 0x598, wPlayerName, 11);
    *(volatile uint8_t *)0x0000 = 0;
}

void main(void) {
    load_font();
    rWX = 7;
    hWY = 144;
    rIE = 1;
    wUpdateSpritesEnabled = 1;
    new_game();
    __asm__("ei");
}
