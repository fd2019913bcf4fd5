"""RAM addresses of Sprout, those of the retail game: one table for C and assembly.

Nothing but this table keeps two variables apart (the linker does not see fixed addresses), so ``check`` refuses
overlaps. A name that shares bytes on purpose, as in the original, says so with a leading ``|``.
"""

from __future__ import annotations

TABLE = """
C000 40 wPrivate
C100 256 wSpriteStateData1
|C102 1 wPlayerImageIndex
|C103 1 wPlayerYStep
|C105 1 wPlayerXStep
|C109 1 wPlayerFacing
|C10C 1 wPlayerCollisionData
C200 256 wSpriteStateData2
C300 160 wShadowOAM
C3A0 360 wTileMap
C508 480 wSurroundingTiles
C6E8 1300 wOverworldMap
CBFC 40 wRedrawTiles
CC24 1 wTopMenuItemY
CC25 1 wTopMenuItemX
CC26 1 wCurrentMenuItem
CC27 1 wTileBehindCursor
CC28 1 wMaxMenuItem
CC29 1 wMenuWatchedKeys
CC2A 1 wLastMenuItem
CC2B 1 wPartyAndBillsPCSavedMenuItem
CC2C 1 wBagSavedMenuItem
CC2D 1 wBattleAndStartSavedMenuItem
CC2E 1 wPlayerMoveListIndex
CC2F 1 wPlayerMonNumber
CC30 2 wMenuCursorLocation
CC34 1 wMenuJoypadPollCount
CC35 1 wMenuItemToSwap
CC36 1 wListScrollOffset
CC37 1 wMenuWatchMovingOutOfBounds
CC3C 1 wDoNotWaitForButtonPressAfterDisplayingText
CC4A 1 wMenuWrappingEnabled
CC57 1 wNPCMovementScriptPointerTableNum
CCD3 8 wSimulatedJoypadStatesEnd
|CCD3 1 wCanEvolveFlags
CCDB 1 wMoveMenuType
CCDC 1 wPlayerSelectedMove
CCDD 1 wEnemySelectedMove
CD1A 6 wPlayerMonStatMods
CD2E 6 wEnemyMonStatMods
CD38 1 wSimulatedJoypadStatesIndex
CD3B 1 wOverrideSimulatedJoypadStatesMask
CD60 1 wMiscFlags
CD6B 1 wJoyIgnore
CD6D 20 wNameBuffer
CD81 360 wTileMapBackup2
CEE9 1 wEvoOldSpecies
CEEA 1 wNamingScreenSubmitName
|CEEA 1 wEvoNewSpecies
CEEB 1 wEvoMonTileOffset
CEEC 1 wEvoCancelled
CF07 1 wAnimSoundID
CF0B 1 wBattleResult
CF0C 1 wAutoTextBoxDrawingControl
CF0E 1 wTilePlayerStandingOn
CF0F 1 wNPCNumScriptedSteps
CF4B 20 wStringBuffer
CF7B 16 wItemList
CF8B 2 wListPointer
CF91 1 wCurItem
CF92 1 wWhichPokemon
CF93 1 wPrintItemPrices
CF94 1 wListMenuID
CF96 1 wItemQuantity
CF97 1 wMaxItemQuantity
CF98 44 wLoadedMon
CFC4 1 wFontLoaded
CFC5 1 wWalkCounter
CFC6 1 wTileInFrontOfPlayer
CFCB 1 wUpdateSpritesEnabled
CFDA 11 wEnemyMonNick
CFE5 29 wEnemyMon
|CFE5 1 wEnemyMonSpecies
|CFE6 2 wEnemyMonHP
|CFE8 1 wEnemyMonPartyPos
|CFE9 1 wEnemyMonStatus
|CFED 4 wEnemyMonMoves
|CFF3 1 wEnemyMonLevel
|CFF4 2 wEnemyMonMaxHP
D007 1 wEnemyMonActualCatchRate
D009 11 wBattleMonNick
D014 29 wBattleMon
|D014 1 wBattleMonSpecies
|D015 2 wBattleMonHP
|D018 1 wBattleMonStatus
|D01C 4 wBattleMonMoves
|D022 1 wBattleMonLevel
|D023 2 wBattleMonMaxHP
|D02D 4 wBattleMonPP
D031 1 wTrainerClass
D057 1 wIsInBattle
D059 1 wCurOpponent
D05A 1 wBattleType
D05D 1 wTrainerNo
D062 1 wPlayerBattleStatus1
D067 1 wEnemyBattleStatus1
D078 1 wEscapedFromBattle
D07C 1 wAnimationID
D07D 1 wPartyMenuTypeOrMessageID
D087 1 wSubAnimCounter
D0D7 2 wDamage
D0DB 1 wRepelRemainingSteps
D11C 1 wCapturedMonSpecies
D11F 1 wForcePlayerToChooseMon
D125 1 wTextBoxID
D126 1 wCurrentMapScriptFlags
D127 1 wCurEnemyLevel
D12A 1 wListCount
D12B 1 wLinkState
D12C 1 wTwoOptionMenuID
D12D 1 wChosenMenuItem
D12E 1 wMenuExitMethod
D13A 1 wIgnoreInputCounter
D13B 1 wStepCounter
D13C 1 wNumberOfNoRandomBattleStepsLeft
D158 11 wPlayerName
D163 1 wPartyCount
D164 7 wPartySpecies
D16B 264 wPartyMons
D273 66 wPartyMonOT
D2B5 66 wPartyMonNicks
D2F7 19 wPokedexOwned
D30A 19 wPokedexSeen
D31D 1 wNumBagItems
D31E 41 wBagItems
D347 3 wPlayerMoney
D34A 11 wRivalName
D355 1 wOptions
D356 1 wObtainedBadges
D358 1 wLetterPrintingDelayFlags
D359 2 wPlayerID
D35D 1 wMapPalOffset
D35E 1 wCurMap
D35F 2 wCurrentTileBlockMapViewPointer
D361 1 wYCoord
D362 1 wXCoord
D363 1 wYBlockCoord
D364 1 wXBlockCoord
D365 1 wLastMap
D367 1 wCurMapTileset
D368 1 wCurMapHeight
D369 1 wCurMapWidth
D370 1 wCurMapConnections
D371 44 wConnectionHeaders
D3AD 1 wMapBackgroundTile
D3AE 1 wNumberOfWarps
D3AF 128 wWarpEntries
D42F 1 wDestinationWarpID
D4B0 1 wNumSigns
D4B1 32 wSignCoords
D4D1 16 wSignTextIDs
D4E1 1 wNumSprites
D4E4 32 wMapSpriteData
D504 32 wMapSpriteExtraData
D524 1 wCurrentMapHeight2
D525 1 wCurrentMapWidth2
D526 2 wMapViewVRAMPointer
D528 1 wPlayerMovingDirection
D529 1 wPlayerLastStopDirection
D52A 1 wPlayerDirection
D52B 1 wTilesetBank
D52C 2 wTilesetBlocksPtr
D530 2 wTilesetCollisionPtr
D532 3 wTilesetTalkingOverTiles
D535 1 wGrassTile
D53A 1 wNumBoxItems
D53B 101 wBoxItems
D5A0 1 wCurrentBoxNum
D5A2 1 wNumHoFTeams
D5A4 2 wPlayerCoins
D5A6 32 wToggleableObjectFlags
D5CE 34 wToggleableObjectList
D5F0 200 wGameProgressFlags
D6F0 14 wObtainedHiddenItemsFlags
D700 1 wWalkBikeSurfState
D70B 2 wTownVisitedFlag
D715 1 wRivalStarter
D717 1 wPlayerStarter
D719 1 wLastBlackoutMap
D728 1 wStatusFlags1
D72A 1 wBeatGymFlags
D72C 1 wStatusFlags2
D72D 1 wStatusFlags3
D72E 1 wStatusFlags4
D730 1 wStatusFlags5
D732 1 wStatusFlags6
D733 1 wStatusFlags7
D734 1 wElite4Flags
D736 1 wMovementFlags
D73B 1 wWarpedFromWhichWarp
D73C 1 wWarpedFromWhichMap
D747 320 wEventFlags
D887 1 wGrassRate
D888 20 wGrassMons
D89C 1 wEnemyPartyCount
D89D 7 wEnemyPartySpecies
D8A4 264 wEnemyMons
DA39 1 wCurMapScript
DA41 1 wPlayTimeHours
DA42 1 wPlayTimeMaxed
DA43 1 wPlayTimeMinutes
DA44 1 wPlayTimeSeconds
DA45 1 wPlayTimeFrames
DA46 1 wSafariZoneGameOver
DA47 1 wNumSafariBalls
DA80 1 wBoxCount
DA81 21 wBoxSpecies
DA96 660 wBoxMons
DD2A 220 wBoxMonOT
DE06 220 wBoxMonNicks
FF80 10 hDMARoutine
FF8A 1 hSoftReset
FF8B 1 hDownArrowBlinkCount1
FF8C 1 hDownArrowBlinkCount2
FFAE 1 hSCX
FFAF 1 hSCY
FFB0 1 hWY
FFB1 1 hJoyLast
FFB2 1 hJoyReleased
FFB3 1 hJoyPressed
FFB4 1 hJoyHeld
FFB5 1 hJoy5
FFB6 1 hJoy6
FFB7 1 hJoy7
FFB8 1 hLoadedROMBank
FFBA 1 hAutoBGTransferEnabled
FFBB 1 hAutoBGTransferPortion
FFD0 1 hRedrawMode
FFD1 2 hRedrawDest
FFD3 1 hRandomAdd
FFD4 1 hRandomSub
FFD5 1 hFrameCounter
FFD6 1 hVBlankOccurred
FFD7 1 hTileAnimations
FFF3 1 hWhoseTurn
FFF6 1 hUILayoutFlags
FFF8 1 hJoyInput
FFF9 1 hDisableJoypadPolling
C000 1 pFarBank
C001 2 pFarPtr
C003 2 pCopyLength
C005 1 pPartyAnimation
C006 1 pScratch
C007 1 pWaterFrame
C008 1 pCallBank
C009 2 pCall
C00B 2 pNumber
C00D 1 pFrames
"""
# wPrivate's first bytes have names of their own; the rest of C000..C0EF belongs to the C compiler's data segment.
TABLE = TABLE.replace("C000 40 wPrivate\n", "")


def entries() -> list[tuple[str, int, int, bool]]:
    out = []
    for line in TABLE.split("\n"):
        if line:
            address, size, name = line.lstrip("|").split()
            out.append((name, int(address, 16), int(size), line.startswith("|")))
    return out


def check() -> None:
    """Refuse two variables that share a byte where the table does not say so."""
    owner: dict[int, str] = {}
    for name, address, size, shared in entries():
        for byte in range(address, address + size):
            if shared:
                if byte not in owner:
                    raise SystemExit(f"ram.py: {name} claims to share 0x{byte:04X}, which nobody owns")
            elif byte in owner:
                raise SystemExit(f"ram.py: {name} and {owner[byte]} both have 0x{byte:04X}")
            else:
                owner[byte] = name


def header() -> str:
    """Return the C header: every name is a volatile lvalue."""
    lines = ["/* made by generate.py from ram.py */"]
    words = {"wMenuCursorLocation", "wCurrentTileBlockMapViewPointer", "wMapViewVRAMPointer", "wTilesetBlocksPtr",
             "wTilesetCollisionPtr", "wListPointer", "hRedrawDest", "pFarPtr", "pCopyLength", "pCall", "pNumber"}  # fmt: skip
    for name, address, size, _ in entries():
        if name in words:
            lines.append(f"#define {name} (*(volatile uint16_t *)0x{address:04X})")
        elif size == 1:
            lines.append(f"#define {name} (*(volatile uint8_t *)0x{address:04X})")
        else:
            lines.append(f"#define {name} ((volatile uint8_t *)0x{address:04X})")
    return "\n".join(lines) + "\n"


def include() -> str:
    """Return the equates for the assembler."""
    return "".join(f"{name} = 0x{address:04X}\n" for name, address, _, _ in entries())
