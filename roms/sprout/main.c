/* Power-on to the first step. */
#include "engine.h"

uint8_t title(void);
void name_people(void);
void read_save(void);

static void new_game(void) {
    wPlayerMoney[0] = 0;
    wPlayerMoney[1] = 0x30;
    wPlayerMoney[2] = 0;
    wBagItems[0] = 0xFF;
    wPartySpecies[0] = 0xFF;
    wBoxItems[0] = 0xFF;
    wBoxSpecies[0] = 0xFF;
    wStatusFlags6 = 1;
    wPlayerID[0] = random();
    wPlayerID[1] = hRandomSub;
    wLastMap = wLastBlackoutMap = MAP_MOSSBY;
    wCurMap = MAP_HOME_2F;
    wXCoord = 8;
    wYCoord = 3;
    wPlayerFacing = 0;
}

void main(void) {
    screen_off();
    load_font();
    rWX = 7;
    rBGP = 0xE4;
    hWY = 144;
    wUpdateSpritesEnabled = 1;
    wLetterPrintingDelayFlags = 1;
    wOptions = 3;
    fill_bytes(wTileMap, 0x7F, 360);
    screen_on();
    __asm__("ei");
    if (FAR_CALL(5, title)) FAR_CALL(5, read_save);
    else {
        FAR_CALL(5, name_people);
        new_game();
    }
    reset_scripts();
    fill_bytes(wShadowOAM, 0, 160);
    fade_out();
    hAutoBGTransferEnabled = 0;
}
