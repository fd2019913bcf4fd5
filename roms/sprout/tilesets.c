/* Tables of bank 0, where the retail game has its lists of walkable tiles, too: programs follow the pointer. */
#include "engine.h"
#include "tilesets.h"
