/* Tables of bank 0: the lists of walkable tiles lie there in the original, and readers may follow the pointer. */
#include "engine.h"
#include "tilesets.h"
