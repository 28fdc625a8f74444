/* A double fault whose handler is not there: the machine shuts down. */
#define BITS 64
#include "prelude.h"

main:
    TRY "double fault with a handler"
    andb $0x7f, idt + 13 * 16 + 5
    andb $0x7f, idt + 11 * 16 + 5
    mov $0x1000, %eax
    mov %eax, %es
    DONE
    TRY "double fault without"
    andb $0x7f, idt + 8 * 16 + 5
    SAY " down"
    mov $0x1000, %eax
    mov %eax, %es
    DONE
    FINISH
