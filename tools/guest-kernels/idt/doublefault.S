/*
 * The double-fault matrix (SDM vol. 3A table 6-5): a benign, a contributory and a page fault each meet, on the way to their
 * handler, an absent gate, a bad code segment, an unusable stack, a page fault on the stack and on the IDT.
 */
#define BITS 64
#include "prelude.h"

#define ABSENT 0x123456789000

/* Makes gate n refuse: absent (#NP), to a data segment (#GP), on IST 3 (non-canonical) or IST 4 (absent page). */
.macro ABSENT_GATE n
    andb $0x7f, idt + (\n) * 16 + 5
.endm
.macro BAD_SEGMENT n
    movw $KERNEL_DATA, idt + (\n) * 16 + 2
.endm
.macro STACK n, ist
    movb $\ist, idt + (\n) * 16 + 4
.endm
.macro MEND n
    movb $0x8e, idt + (\n) * 16 + 5
    movw $KERNEL_CODE, idt + (\n) * 16 + 2
    movb $0, idt + (\n) * 16 + 4
.endm

/* First events: #UD is benign, #DE and #NP are contributory. */
.macro RAISE_UD
    ud2
.endm
.macro RAISE_DE
    xor %ecx, %ecx
    div %ecx
.endm
.macro RAISE_NP
    mov $SLOT0, %eax
    mov %eax, %es
.endm
.macro RAISE_GP
    mov $0x1000, %eax
    mov %eax, %es
.endm
.macro RAISE_PF
    mov 0x7ffffff0, %eax
.endm
.macro RAISE_INT
    int $0x31
.endm

.macro ROW name, n
    TRY "\name, gate absent"
    ABSENT_GATE \n
    RAISE_\name
    DONE
    MEND \n
    TRY "\name, bad code segment"
    BAD_SEGMENT \n
    RAISE_\name
    DONE
    MEND \n
    TRY "\name, stack not canonical"
    STACK \n, 3
    RAISE_\name
    DONE
    TRY "\name, page fault on the stack"
    STACK \n, 4
    RAISE_\name
    DONE
    MEND \n
    TRY "\name, gate absent and the handler of that absent too"
    ABSENT_GATE \n
    ABSENT_GATE 11
    RAISE_\name
    DONE
    MEND \n
    MEND 11
.endm

main:
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf1300
    movb $2, idt + 8 * 16 + 4
    movl $0, tss + 0x34
    movl $0x8000, tss + 0x38
    movl $ABSENT & 0xffffffff, tss + 0x3c
    movl $ABSENT >> 32, tss + 0x40

    ROW UD, 6
    ROW DE, 0
    ROW NP, 11
    ROW GP, 13
    ROW PF, 14
    ROW INT, 0x31

    /* vectors below 8 lie on an absent page */
    TRY "IDT on an absent page"
    movl $(arena + 0xe00 + 3), window_table + 8
    movl $0, window_table + 8
    movl $(arena + 3), window_table + 16
    movl $(WINDOW + 0x2000 - 8 * 16), idt_pointer + 2
    mov $(idt + 8 * 16), %esi
    mov $arena, %edi
    mov $496, %ecx
    rep movsq
    lidt idt_pointer
    ud2
    DONE
    TRY "IDT on an absent page, contributory"
    RAISE_DE
    DONE
    TRY "IDT on an absent page, INT n"
    int $3
    DONE
    FINISH
