; Start-up, interrupts, and the routines whose place in the ROM matters.
;
; The word at 0xDFFD (the outermost return address) tells a reader of the retail game what it is busy with. The calls
; of the main loop therefore stand where the retail game's calls stand; likewise the two polling loops, whose return
; addresses 0x3886 and 0x3AEC are looked for deeper on the stack.
        .module start
        .include "ram.inc"

rJOYP   = 0xFF00
rDIV    = 0xFF04
rIF     = 0xFF0F
rLCDC   = 0xFF40
rSTAT   = 0xFF41
rSCY    = 0xFF42
rSCX    = 0xFF43
rLY     = 0xFF44
rLYC    = 0xFF45
rIE     = 0xFFFF
rDMA    = 0xFF46
rBGP    = 0xFF47
rWY     = 0xFF4A
vWindow = 0x9C00

        .globl  _main, _map_entry, _load_palette, _jump_frame, _joypad_overworld, _overworld_choice
        .globl  _hidden_event, _display_text, _new_battle, _advance_step, _after_step, _after_battle, _take_warp
        .globl  _place_menu_cursor, _menu_key, _animate_party

        .area   _VECTORS (ABS)
        .org    0x00
        rst     0x38
        .org    0x38
        di
0$:     halt
        jr      0$
        .org    0x40
        jp      vblank
        .org    0x48
        reti
        .org    0x50
        reti
        .org    0x58
        reti
        .org    0x60
        reti
        .org    0x100
        nop
        jp      init

        .org    0x150
_restart::                      ; void restart(void): the retail game's jp Init, after the hall of fame
init:
        di
        ld      sp, #0xDFFF
        ldh     a, (rLCDC)      ; waiting for a line never ends while the screen is off
        rlca
        jr      nc, 2$
1$:     ldh     a, (rLY)
        cp      #145
        jr      nz, 1$
        xor     a
        ldh     (rLCDC), a
2$:     ld      hl, #0xC000     ; fixed-address variables are in no segment: nobody else clears them
3$:     xor     a
        ld      (hl+), a
        ld      a, h
        cp      #0xE0
        jr      nz, 3$
        ld      hl, #0x8000
4$:     xor     a
        ld      (hl+), a
        ld      a, h
        cp      #0xA0
        jr      nz, 4$
        ld      hl, #0xFF80
5$:     xor     a
        ld      (hl+), a
        ld      a, l
        cp      #0xFF
        jr      nz, 5$
        ld      hl, #dma_code   ; the OAM copy must run from high RAM
        ld      c, #0x80
        ld      b, #dma_end-dma_code
6$:     ld      a, (hl+)
        ldh     (c), a
        inc     c
        dec     b
        jr      nz, 6$
        xor     a
        ldh     (rLYC), a
        ld      a, #0x40        ; line 0 sets its flag; see the v-blank handler
        ldh     (rSTAT), a
        ld      a, #1
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        call    _main           ; title and set-up; comes back when the player stands on the first map
        jp      _enter_map
dma_code:
        ld      a, #0xC3
        ldh     (rDMA), a
        ld      a, #40
7$:     dec     a
        jr      nz, 7$
        ret
dma_end:

vblank:
        push    af
        push    bc
        push    de
        push    hl
        ldh     a, (hSCX)
        ldh     (rSCX), a
        ldh     a, (hSCY)
        ldh     (rSCY), a
        ldh     a, (hWY)
        ldh     (rWY), a
        call    play_time               ; first: a reader between two frames must not find it half counted
        ldh     a, (hRedrawMode)
        and     a
        call    nz, redraw
        ldh     a, (hAutoBGTransferEnabled)
        and     a
        call    nz, copy_third
        call    hDMARoutine
        call    _random
        xor     a
        ldh     (hVBlankOccurred), a
        ldh     a, (hFrameCounter)
        and     a
        jr      z, 1$
        dec     a
        ldh     (hFrameCounter), a
1$:
        ; The retail handler's music runs past the end of v-blank, so that a reader who stops the emulator between two
        ; frames (at line 0) finds the main loop still waiting. Sprout has no music and sleeps until line 0 instead.
        ldh     a, (rLY)
        cp      #144
        jr      c, 2$
        ldh     a, (rIE)
        ld      b, a
        ld      a, #2
        ldh     (rIE), a        ; interrupts are off here: the line counter only wakes the processor
        xor     a
        ldh     (rIF), a
        halt
        nop
        xor     a
        ldh     (rIF), a
        ld      a, b
        ldh     (rIE), a
2$:
        ldh     a, (hDisableJoypadPolling)
        and     a
        call    z, read_pad
        pop     hl
        pop     de
        pop     bc
        pop     af
        reti

; one sample of the pad: A B SELECT START RIGHT LEFT UP DOWN from bit 0, a set bit is a held key
read_pad:
        ld      a, #0x20
        ldh     (rJOYP), a
        ldh     a, (rJOYP)
        ldh     a, (rJOYP)
        cpl
        and     #0x0F
        swap    a
        ld      b, a
        ld      a, #0x10
        ldh     (rJOYP), a
        ldh     a, (rJOYP)
        ldh     a, (rJOYP)
        ldh     a, (rJOYP)
        ldh     a, (rJOYP)
        cpl
        and     #0x0F
        or      b
        ldh     (hJoyInput), a
        ld      a, #0x30
        ldh     (rJOYP), a
        ret

; ------------------------------------------------------------------ the main loop, at the retail game's places
        .org    0x03A6
_enter_map::
        call    _map_entry
        jp      overworld_loop

        .org    0x03FF
overworld_loop:
        call    _delay_frame            ; -> 0402
less_delay:
        call    _delay_frame            ; -> 0405
        call    _load_palette
        ld      a, (wMovementFlags)
        bit     6, a
        call    nz, _jump_frame
        ld      a, (wWalkCounter)
        and     a
        jp      nz, move_ahead
        call    _joypad_overworld       ; -> 041A: pad, map script, cut scenes
        call    _overworld_choice
        and     a
        jr      z, overworld_loop
        dec     a
        jp      z, say_something
        dec     a
        jr      z, look_at_something
        dec     a
        jp      z, turned
        dec     a
        jp      z, move_ahead
        dec     a
        jp      z, warp
        jp      battle

        .org    0x046B
look_at_something:
        call    _hidden_event           ; -> 046E
        jp      after_talk

        .org    0x0496
say_something:
        call    _display_text           ; -> 0499
after_talk:
        ld      a, (wCurOpponent)       ; somebody wants to fight
        and     a
        jp      nz, battle
        ld      a, (wStatusFlags3)      ; somebody asked for a warp
        bit     3, a
        jp      nz, warp
        jp      overworld_loop

        .org    0x0575
turned:
        call    _new_battle             ; -> 0578
        and     a
        jp      nz, battle_occurred
        jp      overworld_loop

        .org    0x0610
move_ahead:
        call    _advance_step
        and     a
        jp      z, overworld_loop       ; between two tiles
        jr      battle
        .org    0x062C
battle:
        call    _new_battle             ; -> 062F
        and     a
        jr      nz, battle_occurred
        call    _after_step             ; 0 nothing, 1 warp, 2 walked over the edge of the map
        and     a
        jp      z, overworld_loop
        dec     a
        jp      nz, less_delay
warp:
        call    _take_warp
        jp      _enter_map
battle_occurred:
        call    _after_battle
        jp      _enter_map
        ; C code of bank 0 begins at 0x0660

; ------------------------------------------------------------------ text waiting for A or B
        .org    0x3865
_wait_for_text_button::
        ldh     a, (hDownArrowBlinkCount1)
        push    af
        ldh     a, (hDownArrowBlinkCount2)
        push    af
        xor     a
        ldh     (hDownArrowBlinkCount1), a
        ld      a, #6
        ldh     (hDownArrowBlinkCount2), a
1$:     push    hl
        jr      2$
        .org    0x387C
2$:     ld      hl, #wTileMap+16*20+18
        call    blink_arrow
        pop     hl
        call    _joypad_low_sensitivity ; -> 3886
        ldh     a, (hJoy5)
        and     #3
        jr      z, 1$
        ld      hl, #0                  ; nothing stays behind of the word by which readers know that a text waits: the
        push    hl                      ; original's next letters overwrite it, Sprout's stack is not as deep
        pop     hl
        pop     af
        ldh     (hDownArrowBlinkCount2), a
        pop     af
        ldh     (hDownArrowBlinkCount1), a
        ret

; the arrow at HL goes off and on by counting polls; an arrow that was never drawn stays away
blink_arrow:
        ld      a, (hl)
        cp      #0xEE
        ldh     a, (hDownArrowBlinkCount1)
        jr      nz, 3$
        dec     a
        ldh     (hDownArrowBlinkCount1), a
        ret     nz
        ldh     a, (hDownArrowBlinkCount2)
        dec     a
        ldh     (hDownArrowBlinkCount2), a
        ret     nz
        ld      (hl), #0x7F
        ld      a, #0xFF
        ldh     (hDownArrowBlinkCount1), a
        jr      4$
3$:     and     a
        ret     z
        dec     a
        ldh     (hDownArrowBlinkCount1), a
        ret     nz
        dec     a
        ldh     (hDownArrowBlinkCount1), a
        ldh     a, (hDownArrowBlinkCount2)
        dec     a
        ldh     (hDownArrowBlinkCount2), a
        ret     nz
        ld      (hl), #0xEE
4$:     ld      a, #6
        ldh     (hDownArrowBlinkCount2), a
        ret

; ------------------------------------------------------------------ vertical menus
        .org    0x3ABE
_handle_menu_input::
        xor     a
        ld      (pPartyAnimation), a
_handle_menu_input_animated::           ; 3AC2
        ldh     a, (hDownArrowBlinkCount1)
        push    af
        ldh     a, (hDownArrowBlinkCount2)
        push    af
        xor     a
        ldh     (hDownArrowBlinkCount1), a
        ld      a, #6
        ldh     (hDownArrowBlinkCount2), a
1$:     xor     a
        ld      (pScratch), a
        call    _place_menu_cursor
        call    _delay3
2$:     push    hl
        ld      a, (pPartyAnimation)
        and     a
        jr      z, 3$
        nop
        nop
        nop
        nop
        nop
        call    _animate_party          ; -> 3AE8
3$:     pop     hl
        call    _joypad_low_sensitivity ; -> 3AEC
        ldh     a, (hJoy5)
        and     a
        jr      nz, 4$
        ld      hl, #wTileMap+11*20+18  ; lists show there that they go on
        call    blink_arrow
        ld      a, (wMenuJoypadPollCount)
        and     a
        jr      z, 2$
        dec     a
        ld      (wMenuJoypadPollCount), a
        jr      nz, 2$
        jr      5$
4$:     call    _menu_key
        and     a
        jr      z, 1$
5$:     pop     af
        ldh     (hDownArrowBlinkCount2), a
        pop     af
        ldh     (hDownArrowBlinkCount1), a
        xor     a
        ld      (wMenuWrappingEnabled), a
        ldh     a, (hJoy5)
        ret

; ------------------------------------------------------------------ pad
_joypad::
        ldh     a, (hJoyInput)
        ld      b, a
        and     #0x0F
        cp      #0x0F                   ; A+B+SELECT+START, held for sixteen polls
        jr      nz, 1$
        ldh     a, (hSoftReset)
        inc     a
        ldh     (hSoftReset), a
        cp      #16
        jp      nc, init
        jr      2$
1$:     xor     a
        ldh     (hSoftReset), a
2$:     ldh     a, (hJoyLast)
        ld      e, a
        xor     b
        ld      d, a
        and     e
        ldh     (hJoyReleased), a
        ld      a, d
        and     b
        ldh     (hJoyPressed), a
        ld      a, b
        ldh     (hJoyLast), a
        ldh     (hJoyHeld), a
        ld      a, (wStatusFlags5)
        bit     5, a
        jr      z, 3$
        xor     a
        ldh     (hJoyHeld), a
        ldh     (hJoyPressed), a
        ldh     (hJoyReleased), a
        ret
3$:     ld      a, (wJoyIgnore)
        and     a
        ret     z
        cpl
        ld      b, a
        ldh     a, (hJoyHeld)
        and     b
        ldh     (hJoyHeld), a
        ldh     a, (hJoyPressed)
        and     b
        ldh     (hJoyPressed), a
        ret

; edges only; with hJoy7 held keys repeat, with hJoy6 A and B too
_joypad_low_sensitivity::
        call    _joypad
        ldh     a, (hJoy7)
        and     a
        ldh     a, (hJoyPressed)
        jr      z, 1$
        ldh     a, (hJoyHeld)
1$:     ldh     (hJoy5), a
        ldh     a, (hJoyPressed)
        and     a
        jr      z, 2$
        ld      a, #30
        ldh     (hFrameCounter), a
        ret
2$:     ldh     a, (hFrameCounter)
        and     a
        jr      z, 3$
        xor     a
        ldh     (hJoy5), a
        ret
3$:     ldh     a, (hJoyHeld)
        and     #3
        jr      z, 4$
        ldh     a, (hJoy6)
        and     a
        jr      nz, 4$
        xor     a
        ldh     (hJoy5), a
4$:     ld      a, #5
        ldh     (hFrameCounter), a
        ret

; ------------------------------------------------------------------ time
_delay3::
        ld      c, #3
1$:     push    bc
        call    _delay_frame
        pop     bc
        dec     c
        jr      nz, 1$
        ret

; void delay_frames(uint8_t n)
_delay_frames::
        ld      c, a
1$:     push    bc
        call    _delay_frame
        pop     bc
        dec     c
        jr      nz, 1$
        ret

_delay_frame::
        ld      a, #1
        ldh     (hVBlankOccurred), a
1$:     halt
        nop
        ldh     a, (hVBlankOccurred)
        and     a
        jr      nz, 1$
        ret

; uint8_t random(void): stepped by the divider, and once each v-blank
_random::
        ldh     a, (rDIV)
        ld      b, a
        ldh     a, (hRandomAdd)
        adc     a, b
        ldh     (hRandomAdd), a
        ldh     a, (rDIV)
        ld      b, a
        ldh     a, (hRandomSub)
        sbc     a, b
        ldh     (hRandomSub), a
        ldh     a, (hRandomAdd)
        ret

; counts the played time, and the frames in which the game ignores the pad after a warp
play_time:
        ld      hl, #wIgnoreInputCounter
        ld      a, (hl)
        and     a
        jr      z, 1$
        dec     (hl)
        jr      nz, 1$
        ld      a, (wStatusFlags5)
        and     #0xD9                   ; bits 1, 2 and 5
        ld      (wStatusFlags5), a
1$:     ld      a, (wStatusFlags6)
        rrca
        ret     nc
        ld      a, (wPlayTimeMaxed)
        and     a
        ret     nz
        ld      hl, #wPlayTimeFrames
        inc     (hl)
        ld      a, (hl)
        cp      #60
        ret     c
        ld      (hl), #0
        dec     hl                      ; seconds
        inc     (hl)
        ld      a, (hl)
        cp      #60
        ret     c
        ld      (hl), #0
        dec     hl                      ; minutes
        inc     (hl)
        ld      a, (hl)
        cp      #60
        ret     c
        ld      (hl), #0
        ld      hl, #wPlayTimeHours
        inc     (hl)
        ret     nz
        dec     (hl)                    ; 255 hours is the end of counting
        ld      a, #0xFF
        ld      (wPlayTimeMaxed), a
        ret

; ------------------------------------------------------------------ banks
; void far_copy(uint8_t *to, const uint8_t *from): pCopyLength bytes out of bank pFarBank
_far_copy::
        ldh     a, (hLoadedROMBank)
        push    af
        ld      a, (pFarBank)
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      h, b
        ld      l, c
        ld      a, (pCopyLength)
        ld      c, a
        ld      a, (pCopyLength+1)
        ld      b, a
        or      c
        jr      z, 2$
1$:     ld      a, (hl+)
        ld      (de), a
        inc     de
        dec     bc
        ld      a, b
        or      c
        jr      nz, 1$
2$:     pop     af
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ret

; the same into video RAM while the screen may be on: two bytes at a time, only when the screen does not read
_far_copy_vram::
        ldh     a, (hLoadedROMBank)
        push    af
        ld      a, (pFarBank)
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      h, b
        ld      l, c
        ld      a, (pCopyLength)
        ld      c, a
        ld      a, (pCopyLength+1)
        ld      b, a
1$:     di
2$:     ldh     a, (rSTAT)
        and     #2
        jr      nz, 2$
        ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        inc     de
        ei
        dec     bc
        dec     bc
        ld      a, b
        or      c
        jr      nz, 1$
        pop     af
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ret

; the same for drawings of one bit a pixel: every byte twice
_far_copy_1bpp::
        ldh     a, (hLoadedROMBank)
        push    af
        ld      a, (pFarBank)
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      h, b
        ld      l, c
        ld      a, (pCopyLength)
        ld      c, a
        ld      a, (pCopyLength+1)
        ld      b, a
1$:     ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      (de), a
        inc     de
        dec     bc
        ld      a, b
        or      c
        jr      nz, 1$
        pop     af
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ret

; uint8_t far_call(void): calls pCall in bank pCallBank, gives back what it gives
_far_call::
        ldh     a, (hLoadedROMBank)
        push    af
        ld      a, (pCallBank)
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      hl, #1$
        push    hl
        ld      hl, #pCall
        ld      a, (hl+)
        ld      h, (hl)
        ld      l, a
        jp      (hl)
1$:     ld      b, a
        pop     af
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      a, b
        ret

; uint8_t far_byte(void): the next byte at pFarBank:pFarPtr
_far_byte::
        ldh     a, (hLoadedROMBank)
        push    af
        ld      a, (pFarBank)
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      hl, #pFarPtr
        ld      a, (hl+)
        ld      h, (hl)
        ld      l, a
        ld      b, (hl)
        inc     hl
        ld      a, l
        ld      (pFarPtr), a
        ld      a, h
        ld      (pFarPtr+1), a
        pop     af
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      a, b
        ret

; ------------------------------------------------------------------ the view: blocks -> wSurroundingTiles -> wTileMap
_load_map_view::
        ldh     a, (hLoadedROMBank)
        push    af
        ld      a, (wTilesetBank)
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      hl, #wCurrentTileBlockMapViewPointer
        ld      a, (hl+)
        ld      h, (hl)
        ld      l, a
        ld      de, #wSurroundingTiles
        ld      b, #5
1$:     push    bc
        push    hl
        ld      c, #6
2$:     ld      a, (hl+)
        push    hl
        push    bc
        ld      l, a
        ld      h, #0
        add     hl, hl
        add     hl, hl
        add     hl, hl
        add     hl, hl
        ld      a, (wTilesetBlocksPtr)
        ld      c, a
        ld      a, (wTilesetBlocksPtr+1)
        ld      b, a
        add     hl, bc
        push    de
        ld      c, #4
3$:     ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        ld      a, e
        add     a, #21
        ld      e, a
        jr      nc, 4$
        inc     d
4$:     dec     c
        jr      nz, 3$
        pop     de
        inc     de
        inc     de
        inc     de
        inc     de
        pop     bc
        pop     hl
        dec     c
        jr      nz, 2$
        ld      a, e
        add     a, #72
        ld      e, a
        jr      nc, 5$
        inc     d
5$:     pop     hl
        ld      a, (wCurMapWidth)
        add     a, #6
        ld      c, a
        ld      b, #0
        add     hl, bc
        pop     bc
        dec     b
        jr      nz, 1$
        pop     af
        ldh     (hLoadedROMBank), a
        ld      (0x2000), a
        ld      hl, #wSurroundingTiles
        ld      a, (wYBlockCoord)
        and     a
        jr      z, 6$
        ld      bc, #48
        add     hl, bc
6$:     ld      a, (wXBlockCoord)
        and     a
        jr      z, 7$
        inc     hl
        inc     hl
7$:     ld      de, #wTileMap
        ld      b, #18
8$:     ld      c, #5
9$:     ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        inc     de
        ld      a, (hl+)
        ld      (de), a
        inc     de
        dec     c
        jr      nz, 9$
        inc     hl
        inc     hl
        inc     hl
        inc     hl
        dec     b
        jr      nz, 8$
        ret

; v-blank: the row (2) or column (1) of the background that scrolls in next
redraw:
        dec     a
        ld      hl, #hRedrawDest
        ld      a, (hl+)
        ld      d, (hl)
        ld      e, a
        ld      hl, #wRedrawTiles
        jr      nz, 3$
        ld      b, #18
1$:     ld      a, (hl+)
        ld      (de), a
        inc     e
        ld      a, (hl+)
        ld      (de), a
        ld      a, e
        add     a, #31
        ld      e, a
        jr      nc, 2$
        inc     d
        ld      a, d
        and     #3
        or      #0x98
        ld      d, a
2$:     dec     b
        jr      nz, 1$
        jr      6$
3$:     push    de
        call    4$
        pop     de
        ld      a, e
        add     a, #32
        ld      e, a
        jr      nc, 7$
        inc     d
        ld      a, d
        and     #3
        or      #0x98
        ld      d, a
7$:     call    4$
6$:     xor     a
        ldh     (hRedrawMode), a
        ret
4$:     ld      b, #20
        ld      a, e
        and     #0xE0
        ld      c, a
5$:     ld      a, (hl+)
        ld      (de), a
        ld      a, e
        inc     a
        and     #0x1F
        or      c
        ld      e, a
        dec     b
        jr      nz, 5$
        ret

; v-blank: six rows of the screen buffer to the window map, one third a frame
copy_third:
        ldh     a, (hAutoBGTransferPortion)
        inc     a
        cp      #3
        jr      c, 1$
        xor     a
1$:     ldh     (hAutoBGTransferPortion), a
        ld      hl, #wTileMap
        ld      de, #vWindow
        and     a
        jr      z, 3$
        ld      hl, #wTileMap+120
        ld      de, #vWindow+192
        dec     a
        jr      z, 3$
        ld      hl, #wTileMap+240
        ld      de, #vWindow+384
3$:     ld      c, #6
4$:     ld      b, #5
5$:     ld      a, (hl+)
        ld      (de), a
        inc     e
        ld      a, (hl+)
        ld      (de), a
        inc     e
        ld      a, (hl+)
        ld      (de), a
        inc     e
        ld      a, (hl+)
        ld      (de), a
        inc     e
        dec     b
        jr      nz, 5$
        ld      a, e
        add     a, #12
        ld      e, a
        jr      nc, 6$
        inc     d
6$:     dec     c
        jr      nz, 4$
        ret

        .area   _HOME
        .area   _CODE
        .area   _INITIALIZER
        .area   _GSINIT
        .area   _GSFINAL
        .area   _CODE_1
        .area   _DATA
        .area   _INITIALIZED
        .area   _BSS
