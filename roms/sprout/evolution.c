/* Evolution between the last text of a battle and wIsInBattle 0. Bank 6; calls bank 0 only. */
#include "engine.h"

#define OFFSET 0x31 /* from the tiles of the old picture to those of the new one */

static uint8_t evolves_into(uint8_t species, uint8_t level) {
    uint8_t from, least, into;
    pFarBank = BEAST_BANK;
    pFarPtr = EVOLUTION_TABLE;
    for (;;) {
        from = far_byte();
        if (from == 0xFF) return 0;
        least = far_byte();
        into = far_byte();
        if (from == species && level >= least) return into;
    }
}

static void change_picture(uint8_t offset) {
    wEvoMonTileOffset = offset;
    hAutoBGTransferEnabled = 0;
    put_picture(7, 2, offset == OFFSET ? OFFSET : 0);
    hAutoBGTransferEnabled = 1;
    delay3();
}

/* Evolution_CheckForCancel: B ends it. */
static uint8_t cancelled(uint8_t frames) {
    while (frames--) {
        delay_frame();
        joypad_low_sensitivity();
        if (hJoy5 & K_B) return 1;
    }
    return 0;
}

/* Alternates the two pictures, faster each time. 1 when B was pressed. */
static uint8_t evolve_picture(void) {
    uint8_t times, i;
    delay3();
    load_picture(wEvoNewSpecies, 0x9000 + 16 * OFFSET);
    load_picture(wEvoOldSpecies, 0x9000);
    put_picture(7, 2, 0);
    delay_frames(80);
    for (times = 1; times <= 8; times++) {
        if (cancelled((uint8_t)(18 - (times << 1)))) return 1;
        for (i = times; i; i--) {
            change_picture(OFFSET);
            change_picture((uint8_t)-OFFSET);
        }
    }
    change_picture(OFFSET);
    return 0;
}

static void become(uint8_t index, uint8_t species) {
    volatile uint8_t *mon = wPartyMons + (uint16_t)index * 44, *nick = wPartyMonNicks + (uint16_t)index * 11;
    uint8_t i;
    uint16_t before = big(mon + 0x22);
    load_species(mon[0]);
    for (i = 0; nick[i] == species_record[1 + i] && nick[i] != 0x50; i++) {}
    i = nick[i] == species_record[1 + i]; /* not nicknamed */
    mon[0] = species;
    wPartySpecies[index] = species;
    load_species(species);
    if (i) copy_name(nick, species_record + 1);
    mon[5] = species_record[12];
    mon[6] = species_record[13];
    compute_stats(mon);
    set_big(mon + 1, big(mon + 1) + big(mon + 0x22) - before);
    learn_moves(index);
    i = book_number(species);
    set_flag(wPokedexOwned, i);
    set_flag(wPokedexSeen, i);
}

/* Evolves every creature of the team that gained a level in this battle and has reached its level. */
void evolve_after_battle(void) {
    uint8_t i, species, stopped;
    volatile uint8_t *mon;
    for (i = 0; i < wPartyCount; i++) {
        mon = wPartyMons + (uint16_t)i * 44;
        species = evolves_into(mon[0], mon[0x21]);
        if (!species || !(wCanEvolveFlags & (uint8_t)(1 << i))) continue;
        wWhichPokemon = i;
        wEvoNewSpecies = species;
        species = mon[0];
        wEvoOldSpecies = species;
        wCurEnemyLevel = mon[0x21];
        copy_name(wNameBuffer, wPartyMonNicks + (uint16_t)i * 11);
        say(TEXT_EVOLVING);
        delay_frames(50);
        fill_bytes(wTileMap, 0x7F, 240);
        stopped = evolve_picture();
        wEvoCancelled = stopped;
        if (stopped) say(TEXT_STOPPED_EVOLVING);
        else {
            load_species(wEvoNewSpecies);
            copy_name(wStringBuffer, species_record + 1);
            say(TEXT_EVOLVED);
            delay_frames(40);
            become(i, wEvoNewSpecies);
        }
        fill_bytes(wTileMap, 0x7F, 360);
    }
}
