/* Entry of the failing boot. See kernel.c for the story. */
#define GUEST_OS "failing-boot"
#include "../pv-entry.h"
