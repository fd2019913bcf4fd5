/* Maps, walking, people. */
#include "engine.h"

#define MAX_KINDS 8
static const tileset_t *tileset;
static uint16_t signs_at, hidden_at, objects_at;
static uint8_t slot_picture[16], kind_loaded[MAX_KINDS], kinds_loaded;
static uint8_t ledge_frames, standing_still, step_parity;
uint8_t talk_kind, talk_arg, talk_slot, warp_map, warp_index;

static const int8_t dx_of[] = {0, 0, -1, 1}, dy_of[] = {1, -1, 0, 0};
static const uint8_t direction_of[] = {4, 8, 2, 1};

/* ------------------------------------------------------------------ screen */
void screen_off(void) {
    if (rLCDC & 0x80) {
        rIE = 0;
        while (rLY != 145) {}
        rLCDC = 0x63;
    }
}

void screen_on(void) {
    rLCDC = 0xE3;
    rIF = 0;
    rIE = 1;
}

static const uint8_t fades[] = {0xE4, 0xF9, 0xFE, 0xFF};

void fade_out(void) {
    uint8_t i, shade;
    for (i = 0; i < 4; i++) {
        shade = fades[i];
        rBGP = shade;
        rOBP0 = i == 3 ? 0xFF : i == 2 ? 0xFC : i == 1 ? 0xF4 : 0xD0;
        delay_frames(8);
    }
}

void load_palette(void) {
    rBGP = wMapPalOffset ? 0xFE : 0xE4;
    rOBP0 = 0xD0;
}

void load_font(void) {
    pFarBank = GRAPHICS_BANK;
    pCopyLength = 0x20 * 8;
    far_copy_1bpp((uint8_t *)0x9600, FONT);
    pCopyLength = 0x80 * 8;
    far_copy_1bpp((uint8_t *)0x8800, FONT + 0x20 * 8);
}

/* ------------------------------------------------------------------ reading a map */
static uint8_t fb(void) { return far_byte(); }

static uint16_t find_map(uint8_t id) {
    uint16_t at = MAP_TABLE, low;
    uint8_t found;
    pFarBank = DATA_BANK;
    for (;;) {
        pFarPtr = at;
        found = fb();
        if (found == id || found == 0xFF) break;
        at += 3;
    }
    low = fb();
    return low | (uint16_t)fb() << 8;
}

/* A strip of blocks of a neighbour (or of the map itself) into the buffer with the three-block border. */
static void blocks_into(uint8_t row, uint8_t column, uint16_t from, uint8_t count) {
    uint8_t stride = wCurMapWidth + 6;
    pFarBank = DATA_BANK;
    pCopyLength = count;
    far_copy(wOverworldMap + (uint16_t)row * stride + column, from);
}

static void connect(uint8_t side, uint8_t id, int8_t offset) {
    uint8_t i, h, w, index, start, end, width, height;
    uint16_t at, blocks, from;
    volatile uint8_t *out;
    int16_t s;
    at = find_map(id);
    pFarPtr = at;
    blocks = fb();
    blocks |= (uint16_t)fb() << 8;
    fb();
    h = fb();
    w = fb();
    width = wCurMapWidth;
    height = wCurMapHeight;
    index = side == 8 ? 0 : side == 4 ? 1 : side == 2 ? 2 : 3;
    out = wConnectionHeaders + index * 11;
    out[0] = id;
    out[6] = w;
    /* the player's new place: one coordinate is absolute, the other a difference */
    out[7] = side == 8 ? (uint8_t)(2 * h - 1) : side == 4 ? 0 : (uint8_t)(-2 * offset);
    out[8] = side == 2 ? (uint8_t)(2 * w - 1) : side == 1 ? 0 : (uint8_t)(-2 * offset);
    s = 3 + offset;
    start = s < 0 ? 0 : (uint8_t)s;
    if (side & 12) {
        s = 3 + offset + w;
        end = s > width + 6 ? width + 6 : (uint8_t)s;
        for (i = 0; i < 3; i++) {
            from = blocks + (side == 8 ? (uint16_t)(h - 3 + i) : i) * w + (uint16_t)(start - 3 - offset);
            blocks_into(side == 8 ? i : (uint8_t)(height + 3 + i), start, from, (uint8_t)(end - start));
        }
    } else {
        s = 3 + offset + h;
        end = s > height + 6 ? height + 6 : (uint8_t)s;
        for (i = start; i < end; i++) {
            from = blocks + (uint16_t)(i - 3 - offset) * w + (side == 2 ? w - 3 : 0);
            blocks_into(i, side == 2 ? 0 : (uint8_t)(width + 3), from, 3);
        }
    }
}

static uint8_t picture_slot(uint8_t sprite) {
    uint8_t i;
    for (i = 0; i < kinds_loaded; i++)
        if (kind_loaded[i] == sprite) return i;
    if (kinds_loaded == MAX_KINDS) return 0;
    kind_loaded[kinds_loaded] = sprite;
    pFarBank = GRAPHICS_BANK;
    pCopyLength = 192;
    far_copy_vram((uint8_t *)(0x8000 + 24 * 16) + (uint16_t)kinds_loaded * 192, sprite_tiles[sprite]);
    return kinds_loaded++;
}

static void aim_view(void) {
    uint8_t stride = wCurMapWidth + 6, x = wXCoord, y = wYCoord;
    wXBlockCoord = x & 1;
    wYBlockCoord = y & 1;
    wCurrentTileBlockMapViewPointer = (uint16_t)wOverworldMap + (uint16_t)((uint8_t)(y + 2) >> 1) * stride + ((uint8_t)(x + 2) >> 1);
}

static void draw_background(void) {
    uint8_t y;
    for (y = 0; y < 18; y++) copy_bytes((uint8_t *)(0x9800 + (uint16_t)y * 32), wTileMap + (uint16_t)y * 20, 20);
    wMapViewVRAMPointer = 0x9800;
    hSCX = 0;
    hSCY = 0;
}

static void set_tileset(uint8_t id) {
    uint8_t i = 0;
    while (tilesets[i].id != id) i++;
    tileset = &tilesets[i];
    wCurMapTileset = id;
    wTilesetBank = DATA_BANK;
    wTilesetBlocksPtr = tileset->blocks;
    wTilesetCollisionPtr = (uint16_t)tileset->walkable;
    wGrassTile = tileset->grass;
    wTilesetTalkingOverTiles[0] = tileset->over;
    wTilesetTalkingOverTiles[1] = wTilesetTalkingOverTiles[2] = 0xFF;
    hTileAnimations = tileset->water != 0xFF;
}

/* Everything about the current map into RAM. Locals first: SDCC 4.2.0 loses a pointer between two such stores. */
static void read_map(void) {
    uint8_t i, j, n, h, w, border, x, y, side, id, picture;
    uint16_t at, blocks, from;
    at = find_map(wCurMap);
    pFarPtr = at;
    blocks = fb();
    blocks |= (uint16_t)fb() << 8;
    set_tileset(fb());
    h = fb();
    w = fb();
    border = fb();
    wCurMapHeight = h;
    wCurMapWidth = w;
    wCurrentMapHeight2 = (uint8_t)(h << 1);
    wCurrentMapWidth2 = (uint8_t)(w << 1);
    wMapBackgroundTile = border;
    i = fb();
    side = fb();
    at = pFarPtr;
    wMapPalOffset = i && !has_item(ITEM_LANTERN) ? 6 : 0;
    wGrassRate = 0;
    if (side) {
        pFarBank = BEAST_BANK;
        pFarPtr = wild_tables[side - 1];
        i = far_byte();
        wGrassRate = i;
        for (i = 0; i < 20; i++) wGrassMons[i] = far_byte();
        pFarBank = DATA_BANK;
    }
    pFarPtr = at;
    fill_bytes(wOverworldMap, border, 1300);
    from = blocks;
    at = pFarPtr;
    for (i = 0; i < h; i++, from += w) blocks_into((uint8_t)(i + 3), 3, from, w);
    wCurMapConnections = 0;
    wConnectionHeaders[0] = wConnectionHeaders[11] = wConnectionHeaders[22] = wConnectionHeaders[33] = 0xFF;
    pFarPtr = at;
    n = fb();
    while (n--) {
        side = fb();
        id = fb();
        i = fb();
        at = pFarPtr;
        wCurMapConnections |= side;
        connect(side, id, (int8_t)i);
        pFarPtr = at;
    }
    n = fb();
    wNumberOfWarps = n;
    for (i = 0; i < (uint8_t)(n << 2); i++) wWarpEntries[i] = fb();
    n = fb();
    wNumSigns = n;
    signs_at = pFarPtr;
    for (i = 0; i < n; i++) {
        wSignCoords[i << 1] = fb();
        wSignCoords[(i << 1) + 1] = fb();
        fb();
        fb();
    }
    hidden_at = pFarPtr;
    n = fb();
    pFarPtr += (uint16_t)n << 2;
    n = fb();
    objects_at = pFarPtr;
    wNumSprites = n;
    for (i = 0; i < n; i++) wSignTextIDs[i] = 0;
    for (i = 0; i < wNumSigns; i++) wSignTextIDs[i] = (uint8_t)(n + 1 + i);
    fill_bytes(wSpriteStateData1 + 16, 0, 240);
    fill_bytes(wSpriteStateData2 + 16, 0, 240);
    kinds_loaded = 0;
    j = 0;
    for (i = 1; i <= n; i++) {
        volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)i << 4), *s2 = wSpriteStateData2 + ((uint16_t)i << 4);
        id = fb();
        y = fb();
        x = fb();
        side = fb();
        s2[4] = (uint8_t)(y + 4);
        s2[5] = (uint8_t)(x + 4);
        s2[6] = side;
        s2[8] = (uint8_t)(20 + (i << 3));
        s1[0] = (uint8_t)(id + 1);
        s1[1] = 1;
        s1[9] = fb();
        wMapSpriteData[(i - 1) << 1] = side;
        wMapSpriteData[((i - 1) << 1) + 1] = i;
        fb();
        fb();
        picture = fb();
        if (picture != 0xFF) {
            wToggleableObjectList[j++] = i;
            wToggleableObjectList[j++] = picture;
            if (flag(wToggleableObjectFlags, picture)) s1[0] = 0;
        }
        at = pFarPtr;
        slot_picture[i] = picture_slot(id);
        pFarBank = DATA_BANK;
        pFarPtr = at;
    }
    wToggleableObjectList[j] = 0xFF;
}

void hide_object(uint8_t toggle) {
    uint8_t i;
    set_flag(wToggleableObjectFlags, toggle);
    for (i = 0; wToggleableObjectList[i] != 0xFF; i += 2)
        if (wToggleableObjectList[i + 1] == toggle) {
            volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)wToggleableObjectList[i] << 4);
            s1[0] = 0;
        }
}

/* With the screen off. */
void load_map(void) {
    read_map();
    pFarBank = GRAPHICS_BANK;
    pCopyLength = tileset->tiles_size;
    far_copy((uint8_t *)0x9000, tileset->tiles);
    pCopyLength = 384;
    far_copy((uint8_t *)0x8000, SPRITE_HERO);
    pCopyLength = 64;
    far_copy((uint8_t *)(0x8000 + 120 * 16), SPRITE_BALL);
    aim_view();
    load_map_view();
    draw_background();
}

void refresh_map(void) {
    load_map_view();
    update_sprites();
}

static uint8_t tile_at(uint8_t column, uint8_t row) { return wTileMap[(uint16_t)row * 20 + column]; }

static uint8_t in_list(const uint8_t *list, uint8_t tile) {
    for (; *list != 0xFF; list++)
        if (*list == tile) return 1;
    return 0;
}

static void ignore_input(void) {
    wIgnoreInputCounter = 30;
    wStatusFlags5 |= 0x26;
}

void map_entry(void) {
    screen_off();
    load_map();
    wWalkCounter = 0;
    wPlayerMovingDirection = 0;
    hRedrawMode = 0;
    update_sprites();
    load_palette();
    hWY = 144;
    screen_on();
    ignore_input();
    wCurrentMapScriptFlags |= 0x60;
    wMovementFlags &= (uint8_t)~7;
    /* outside, and on a door: walk out of it */
    if (wCurMapTileset == 0 && in_list(tileset->doors, tile_at(8, 9))) {
        wMovementFlags |= 2;
        wSimulatedJoypadStatesEnd[0] = K_DOWN;
        wSimulatedJoypadStatesIndex = 1;
        wStatusFlags5 |= 0x80;
    }
}

/* ------------------------------------------------------------------ people */
static uint8_t object_at(uint8_t x, uint8_t y) {
    uint8_t i;
    for (i = 1; i <= wNumSprites; i++) {
        volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)i << 4), *s2 = wSpriteStateData2 + ((uint16_t)i << 4);
        if (s1[0] && s2[4] == (uint8_t)(y + 4) && s2[5] == (uint8_t)(x + 4)) return i;
    }
    return 0;
}

static uint8_t map_tile(uint8_t x, uint8_t y);

/* Moves every person of the map by one update, then fills the OAM buffer. */
static void walk_people(void) {
    uint8_t i, d, x, y;
    for (i = 1; i <= wNumSprites; i++) {
        volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)i << 4), *s2 = wSpriteStateData2 + ((uint16_t)i << 4);
        if (!s1[0]) continue;
        if (s2[0]) {
            if (--s2[0] == 0) { s1[1] = 2; s1[3] = s1[5] = 0; s2[8] = (uint8_t)(random() & 0x7F) + 16; }
            continue;
        }
        if (s2[6] != 0xFE) continue;
        if (s2[8]) { s2[8]--; continue; }
        d = random() >> 6;
        s1[9] = (uint8_t)(d << 2);
        x = (uint8_t)(s2[5] - 4 + dx_of[d]);
        y = (uint8_t)(s2[4] - 4 + dy_of[d]);
        s2[8] = 40;
        /* stays near its place, off doors, on the map and off other people */
        if (x >= wCurrentMapWidth2 || y >= wCurrentMapHeight2 || x == 0 || y == 0) continue;
        if ((wXCoord == x && wYCoord == y) || object_at(x, y)) continue;
        if (wWalkCounter) continue;
        d = map_tile(x, y);
        if (!in_list(tileset->walkable, d) || in_list(tileset->doors, d) || d == tileset->grass) continue;
        d = s1[9] >> 2;
        s2[4] = (uint8_t)(y + 4);
        s2[5] = (uint8_t)(x + 4);
        s1[3] = (uint8_t)dy_of[d];
        s1[5] = (uint8_t)dx_of[d];
        s1[1] = 3;
        s2[0] = 16;
    }
}

static volatile uint8_t *oam, *oam_used;

/* base: first tile of the pose; mirrored: facing right is facing left mirrored */
static void draw_person(uint8_t x, uint8_t y, uint8_t base, uint8_t mirrored) {
    uint8_t left, right, attribute;
    left = mirrored ? 1 : 0;
    right = left ^ 1;
    attribute = mirrored ? 0x20 : 0;
    y += 16;
    x += 8;
    oam[0] = y; oam[1] = x; oam[2] = base + left; oam[3] = attribute;
    oam[4] = y; oam[5] = x + 8; oam[6] = base + right; oam[7] = attribute;
    y += 8;
    oam[8] = y; oam[9] = x; oam[10] = base + 2 + left; oam[11] = attribute;
    oam[12] = y; oam[13] = x + 8; oam[14] = base + 2 + right; oam[15] = attribute;
    oam += 16;
}

void update_sprites(void) {
    uint8_t i, facing, base, mirrored, shift, lift;
    int16_t px, py, ox, oy;
    volatile uint8_t *end = wShadowOAM + 160;
    if (wUpdateSpritesEnabled != 1) { oam_used = wShadowOAM + 160; return; }
    if (!wFontLoaded) walk_people();
    oam = wShadowOAM;
    /* how far the view is into the step */
    shift = wWalkCounter ? (uint8_t)((8 - wWalkCounter) << 1) : 0;
    facing = wPlayerFacing >> 2;
    ox = dx_of[facing] < 0 ? -(int16_t)shift : dx_of[facing] ? shift : 0;
    oy = dy_of[facing] < 0 ? -(int16_t)shift : dy_of[facing] ? shift : 0;
    base = wPlayerFacing == FACE_RIGHT ? 8 : wPlayerFacing;
    mirrored = wPlayerFacing == FACE_RIGHT;
    if (wWalkCounter && wWalkCounter < 6) {
        base += 12;
        if (step_parity && wPlayerFacing < 8) mirrored = 1;
    }
    lift = ledge_frames ? (ledge_frames > 8 ? 16 - ledge_frames : ledge_frames) : 0;
    wPlayerImageIndex = base;
    wSpriteStateData1[0] = 1;
    wSpriteStateData1[4] = 60;
    wSpriteStateData1[6] = 64;
    wSpriteStateData2[4] = wYCoord + 4;
    wSpriteStateData2[5] = wXCoord + 4;
    if (tile_at(8, 9) < 0x60) draw_person(64, (uint8_t)(60 - lift), base, mirrored);
    if (tile_at(9, 9) == tileset->grass && !wFontLoaded && !wWalkCounter) {
        /* grass covers the lower half */
        wShadowOAM[11] |= 0x80;
        wShadowOAM[15] |= 0x80;
        wSpriteStateData2[7] = 0x80;
    } else wSpriteStateData2[7] = 0;
    for (i = 1; i <= wNumSprites; i++) {
        volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)i << 4), *s2 = wSpriteStateData2 + ((uint16_t)i << 4);
        if (!s1[0]) continue;
        px = (((int16_t)s2[5] - 4 - (int16_t)wXCoord) << 4) + 64 - ox;
        py = (((int16_t)s2[4] - 4 - (int16_t)wYCoord) << 4) + 60 - oy;
        if (s2[0]) {
            px -= (int8_t)s1[5] * (int16_t)s2[0];
            py -= (int8_t)s1[3] * (int16_t)s2[0];
        }
        s1[2] = 0xFF;
        if (px <= -16 || px >= 160 || py <= -16 || py >= 144 || oam >= end) continue;
        s1[4] = (uint8_t)py;
        s1[6] = (uint8_t)px;
        if (wFontLoaded && px >= 0 && px < 150 && py >= -4 && py < 136) {
            /* people are hidden behind text boxes */
            uint8_t c = (uint8_t)((uint8_t)px >> 3), r = (uint8_t)((uint8_t)(py + 4) >> 3);
            if (r > 16) r = 16;
            if (tile_at(c, r + 1) >= 0x60 || tile_at(c + 1, r + 1) >= 0x60 || tile_at(c, r) >= 0x60) continue;
        }
        base = s1[9] == FACE_RIGHT ? 8 : s1[9];
        mirrored = s1[9] == FACE_RIGHT;
        if (s2[0] & 8 && s1[9] < 8) mirrored = 1;
        s1[2] = base;
        draw_person((uint8_t)px, (uint8_t)py, (uint8_t)(24 + slot_picture[i] * 12 + base), mirrored);
    }
    /* clears only the entries used last time, which halves the cost */
    {
        volatile uint8_t *p = oam, *last = oam_used;
        oam_used = p;
        while (p < last) { *p = 0; p += 4; }
    }
}

void face_player(uint8_t slot) {
    volatile uint8_t *s1 = wSpriteStateData1 + ((uint16_t)slot << 4);
    s1[9] = wPlayerFacing ^ 4;
}

/* ------------------------------------------------------------------ walking */
/* The bottom-left tile of a step anywhere on the map. */
static uint8_t map_tile(uint8_t x, uint8_t y) {
    uint8_t stride = wCurMapWidth + 6, block;
    uint16_t at;
    block = wOverworldMap[(uint16_t)((uint8_t)(y + 6) >> 1) * stride + ((uint8_t)(x + 6) >> 1)];
    at = wTilesetBlocksPtr + ((uint16_t)block << 4);
    if (y & 1) at += 8;
    if (x & 1) at += 2;
    pFarBank = DATA_BANK;
    pFarPtr = at + 4;
    return far_byte();
}

static uint8_t front_tile(void) {
    switch (wPlayerFacing) {
        case FACE_DOWN: return tile_at(8, 11);
        case FACE_UP: return tile_at(8, 7);
        case FACE_LEFT: return tile_at(6, 9);
    }
    return tile_at(10, 9);
}

static uint8_t warp_here(void) {
    uint8_t i, y = wYCoord, x = wXCoord;
    volatile uint8_t *entry = wWarpEntries;
    for (i = 0; i < wNumberOfWarps; i++, entry += 4)
        if (entry[0] == y && entry[1] == x) {
            warp_map = entry[3];
            warp_index = entry[2];
            wWarpedFromWhichWarp = i;
            wMovementFlags |= 4;
            return 1;
        }
    return 0;
}

static void feed_simulated_keys(void) {
    uint8_t left = wSimulatedJoypadStatesIndex;
    if (!(wStatusFlags5 & 0x80)) return;
    if (!left) {
        /* the walk is over */
        wStatusFlags5 &= 0x7F;
        wMovementFlags &= (uint8_t)~3;
        wJoyIgnore = 0;
        hJoyHeld = 0;
        hJoyPressed = 0;
        return;
    }
    wSimulatedJoypadStatesIndex = --left;
    hJoyHeld = wSimulatedJoypadStatesEnd[left];
    hJoyPressed = 0;
}

void joypad_overworld(void) {
    wPlayerYStep = wPlayerXStep = 0;
    map_script();
    joypad();
    feed_simulated_keys();
}

static void redraw_edge(void) {
    uint8_t y;
    uint16_t at = wMapViewVRAMPointer, column;
    volatile uint8_t *out = wRedrawTiles, *in = wTileMap;
    if (wPlayerFacing >= FACE_LEFT) {
        column = wPlayerFacing == FACE_RIGHT ? 18 : 0;
        in += column;
        for (y = 0; y < 18; y++, in += 20) { *out++ = in[0]; *out++ = in[1]; }
        at = (at & 0xFFE0) | ((at + column) & 0x1F);
        hRedrawMode = 0;
        hRedrawDest = at;
        hRedrawMode = 1;
    } else {
        if (wPlayerFacing == FACE_DOWN) { in += 320; at = 0x9800 | ((at + 0x200) & 0x3FF); }
        copy_bytes(out, in, 40);
        hRedrawDest = at;
        hRedrawMode = 2;
    }
}

/* The view moves at the beginning of a step, the coordinates at its end. */
static void begin_step(void) {
    uint16_t at = wMapViewVRAMPointer, view = wCurrentTileBlockMapViewPointer;
    uint8_t stride = wCurMapWidth + 6;
    switch (wPlayerFacing) {
        case FACE_DOWN:
            at = 0x9800 | ((at + 0x40) & 0x3FF);
            if (wYBlockCoord) view += stride;
            wYBlockCoord ^= 1;
            break;
        case FACE_UP:
            at = 0x9800 | ((at - 0x40) & 0x3FF);
            if (!wYBlockCoord) view -= stride;
            wYBlockCoord ^= 1;
            break;
        case FACE_LEFT:
            at = (at & 0xFFE0) | ((at - 2) & 0x1F);
            if (!wXBlockCoord) view--;
            wXBlockCoord ^= 1;
            break;
        default:
            at = (at & 0xFFE0) | ((at + 2) & 0x1F);
            if (wXBlockCoord) view++;
            wXBlockCoord ^= 1;
    }
    wMapViewVRAMPointer = at;
    wCurrentTileBlockMapViewPointer = view;
    load_map_view();
    redraw_edge();
}

/* 1 when the step is over. */
uint8_t advance_step(void) {
    uint8_t d = wPlayerFacing >> 2, left = wWalkCounter - 1;
    wWalkCounter = left;
    if (left == 7) begin_step();
    hSCX += (uint8_t)(dx_of[d] << 1);
    hSCY += (uint8_t)(dy_of[d] << 1);
    if (!left) {
        wXCoord += dx_of[d];
        wYCoord += dy_of[d];
        step_parity ^= 1;
        wStepCounter--;
        if (wNumberOfNoRandomBattleStepsLeft) wNumberOfNoRandomBattleStepsLeft--;
        wTilePlayerStandingOn = tile_at(8, 9);
        standing_still = 0;
    }
    update_sprites();
    return left == 0;
}

void jump_frame(void) {
    if (ledge_frames) ledge_frames--;
    if (!ledge_frames && !wSimulatedJoypadStatesIndex && !wWalkCounter) wMovementFlags &= (uint8_t)~0x40;
}

uint8_t after_step(void) {
    if (wXCoord >= wCurrentMapWidth2 || wYCoord >= wCurrentMapHeight2) {
        volatile uint8_t *side;
        uint8_t id, ya, xa;
        side = wConnectionHeaders + (wYCoord == 0xFF ? 0 : wXCoord == 0xFF ? 22 : wYCoord >= wCurrentMapHeight2 ? 11 : 33);
        id = side[0];
        ya = side[7];
        xa = side[8];
        if (side == wConnectionHeaders || side == wConnectionHeaders + 11) { wYCoord = ya; wXCoord += xa; }
        else { wXCoord = xa; wYCoord += ya; }
        wCurMap = id;
        read_map();
        aim_view();
        load_map_view();
        update_sprites();
        wCurrentMapScriptFlags |= 0x60;
        return 2;
    }
    if (warp_here() && in_list(tileset->doors, tile_at(8, 9))) return 1;
    return 0;
}

void take_warp(void) {
    uint8_t i, from = wCurMap, to = warp_map, y, x;
    volatile uint8_t *entry;
    wStatusFlags3 &= (uint8_t)~8;
    wWarpedFromWhichMap = from;
    if (wCurMapTileset == 0) wLastMap = from;
    if (to == 0xFF) to = wLastMap;
    wDestinationWarpID = warp_index;
    wMovementFlags = 0;
    fade_out();
    wCurMap = to;
    screen_off();
    read_map();
    entry = wWarpEntries;
    for (i = warp_index; i; i--) entry += 4;
    y = entry[0];
    x = entry[1];
    wYCoord = y;
    wXCoord = x;
    wDestinationWarpID = 0xFF;
}

/* The kind of the object in a slot; its argument goes to talk_arg. */
uint8_t object_kind(uint8_t slot) {
    uint8_t kind;
    pFarBank = DATA_BANK;
    pFarPtr = objects_at + (uint16_t)(slot - 1) * 8 + 5;
    kind = far_byte();
    talk_arg = far_byte();
    return kind;
}

static void find_talk(uint8_t x, uint8_t y) {
    uint8_t i, slot;
    talk_slot = 0;
    slot = object_at(x, y);
    if (slot) {
        talk_slot = slot;
        pFarBank = DATA_BANK;
        pFarPtr = objects_at + (uint16_t)(slot - 1) * 8 + 5;
        talk_kind = far_byte();
        talk_arg = far_byte();
        return;
    }
    for (i = 0; i < wNumSigns; i++)
        if (wSignCoords[i << 1] == y && wSignCoords[(i << 1) + 1] == x) {
            pFarBank = DATA_BANK;
            pFarPtr = signs_at + (uint16_t)i * 4 + 2;
            talk_kind = far_byte();
            talk_arg = far_byte();
            talk_slot = 0x80;
            return;
        }
}

/* 0 nothing, 1 talk or menu, 2 something hidden, 3 turned, 4 a step begins, 5 warp, 6 battle */
uint8_t overworld_choice(void) {
    uint8_t held = hJoyHeld, d, tile, x, y, i, n;
    if (wCurOpponent) return 6;
    if (wStatusFlags3 & 8) return 5;
    if (hJoyPressed & K_START) { talk_slot = 0xFF; return 1; }
    x = wXCoord;
    y = wYCoord;
    if (hJoyPressed & K_A) {
        d = wPlayerFacing >> 2;
        wTileInFrontOfPlayer = front_tile();
        x += dx_of[d];
        y += dy_of[d];
        /* hidden things look at the tile faced; people and signs may be talked to across a counter */
        pFarBank = DATA_BANK;
        pFarPtr = hidden_at;
        n = far_byte();
        for (i = 0; i < n; i++) {
            tile = far_byte();
            d = far_byte();
            talk_kind = far_byte();
            talk_arg = far_byte();
            if (tile == y && d == x) return 2;
        }
        d = wPlayerFacing >> 2;
        if (wTileInFrontOfPlayer == tileset->over) { x += dx_of[d]; y += dy_of[d]; }
        find_talk(x, y);
        if (talk_slot) return 1;
        return 0;
    }
    if (held & K_DOWN) d = 0;
    else if (held & K_UP) d = 1;
    else if (held & K_LEFT) d = 2;
    else if (held & K_RIGHT) d = 3;
    else {
        i = wPlayerMovingDirection;
        if (i) wPlayerLastStopDirection = i;
        wPlayerMovingDirection = 0;
        standing_still = 1;
        update_sprites();
        return 0;
    }
    i = direction_of[d];
    wPlayerFacing = (uint8_t)(d << 2);
    if (standing_still && !(wStatusFlags5 & 0x80) && wPlayerLastStopDirection != i) {
        standing_still = 0;
        wPlayerDirection = i;
        wPlayerLastStopDirection = i;
        wMiscFlags |= 4;
        update_sprites();
        return 3;
    }
    wMiscFlags &= (uint8_t)~4;
    standing_still = 0;
    wPlayerDirection = i;
    wPlayerMovingDirection = i;
    tile = front_tile();
    wTileInFrontOfPlayer = tile;
    x += dx_of[d];
    y += dy_of[d];
    if (!(wStatusFlags5 & 0x80)) {
        /* pressing against the edge of a map while standing on a warp */
        if (((x >= wCurrentMapWidth2 || y >= wCurrentMapHeight2) || !in_list(tileset->walkable, tile)) && warp_here()
            && (x >= wCurrentMapWidth2 || y >= wCurrentMapHeight2)) return 5;
        if (d == 0 && tile == tileset->ledge) {
            /* a ledge: two steps down in one jump */
            wMovementFlags |= 0x40;
            wSimulatedJoypadStatesEnd[0] = wSimulatedJoypadStatesEnd[1] = K_DOWN;
            wSimulatedJoypadStatesIndex = 1;
            wStatusFlags5 |= 0x80;
            wJoyIgnore = 0xFF;
            ledge_frames = 16;
        } else if (!in_list(tileset->walkable, tile) || object_at(x, y)) {
            update_sprites();
            return 0;
        }
    }
    wPlayerXStep = (uint8_t)dx_of[d];
    wPlayerYStep = (uint8_t)dy_of[d];
    wWalkCounter = 8;
    return 4;
}
