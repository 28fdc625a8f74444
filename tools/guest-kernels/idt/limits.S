/* Segment limits and types in 32-bit protected mode, which QEMU does not check: run here only, against the manual (SDM vol. 3A 5). */
#define BITS 32
#include "prelude.h"

#define CODE16 SLOT5
/* A data segment of base 0: type byte, limit of 20 bits, flags (G = 8, B = 4). */
.macro DATA_SEGMENT slot, type, limit, flags
    movl $(\limit & 0xffff), gdt + (\slot & ~7)
    movl $(\type << 8 | (\limit & 0xf0000) | \flags << 20), gdt + (\slot & ~7) + 4
    mov $\slot, %eax
    mov %eax, %fs
.endm

/* The base of a descriptor in the GDT; takes EAX. */
.macro BASE slot, address
    mov $\address, %eax
    mov %ax, gdt + \slot + 2
    shr $16, %eax
    mov %al, gdt + \slot + 4
.endm
/* Goes on at CPL 3 with SLOT3 as the stack segment and the given ESP, after an instruction of the test's. */
.macro USER_ON_SLOT3 sp, before
    push $SLOT3 + 3
    push $\sp
    push $2
    push $USER_CODE32
    push $884f
    movl $884f, body_ip
    \before
    iret
884:
.endm

main:
    TRY "null segment"
    xor %eax, %eax
    mov %eax, %fs
    mov %fs:scratch, %eax
    DONE
    TRY "null segment, store"
    movb $0, %fs:scratch
    DONE
    TRY "last byte"
    DATA_SEGMENT SLOT0, 0x92, 0xfff, 4
    mov %fs:0xfff, %al
    mov %fs:0xffc, %eax
    DONE
    TRY "behind the last byte"
    mov %fs:0x1000, %al
    DONE
    TRY "four bytes over the end"
    mov %fs:0xffd, %eax
    DONE
    TRY "store over the end"
    movw $0, %fs:0xfff
    DONE
    TRY "at the top of the address space"
    mov %fs:0xffffffff, %al
    DONE
    TRY "granularity of pages"
    DATA_SEGMENT SLOT0, 0x92, 0, 0xc
    mov %fs:0xffc, %eax
    mov %fs:0xffd, %eax
    DONE
    TRY "load from a read-only segment"
    DATA_SEGMENT SLOT0, 0x90, 0xfffff, 0xc
    mov %fs:scratch, %eax
    DONE
    TRY "store to a read-only segment"
    mov %eax, %fs:scratch
    DONE
    TRY "exchange with a read-only segment"
    xchg %eax, %fs:scratch
    DONE
    TRY "load through readable code"
    mov %cs:scratch, %eax
    mov $KERNEL_CODE, %eax
    mov %eax, %fs
    mov %fs:scratch, %eax
    DONE
    TRY "store through code"
    mov %eax, %cs:scratch
    DONE
    TRY "expand-down: below"
    DATA_SEGMENT SLOT0, 0x96, 0xfff, 4
    mov %fs:0xfff, %al
    DONE
    TRY "expand-down: first byte"
    mov %fs:0x1000, %al
    DONE
    TRY "expand-down: across the first byte"
    mov %fs:0xffd, %eax
    DONE
    TRY "expand-down of 64 KiB"
    DATA_SEGMENT SLOT0, 0x96, 0xfff, 0
    mov %fs:0xfffc, %eax
    mov %fs:0xfffd, %eax
    DONE
    TRY "expand-down of nothing"
    DATA_SEGMENT SLOT0, 0x96, 0xfffff, 0xc
    mov %fs:0xffffffff, %al
    DONE
    TRY "accessed bit"
    movl gdt + SLOT0 + 4, %eax
    movzbl %ah, %eax
    SHOW "type", %eax
    DONE
    TRY "string destination"
    DATA_SEGMENT SLOT0, 0x92, 0xfff, 4
    mov %eax, %es
    mov $0xffc, %edi
    mov $3, %ecx
    cld
    rep stosl
    DONE
    SHOW "cx", saved + 4
    SHOW "di", saved + 16
    TRY "code: jump behind the limit"
    DESCRIPTOR SLOT1, 0x00001fff, 0x00c09a00
    ljmp $SLOT1, $1f
1:  jmp 0x2000000
    DONE
    TRY "code: far jump behind the limit"
    ljmp $SLOT1, $0x2000000
    DONE
    TRY "code: call behind the limit"
    ljmp $SLOT1, $1f
1:  mov $0x2000000, %eax
    movl $1f, body_ip
1:  call *%eax
    DONE
    TRY "code: running over the limit"
    DESCRIPTOR SLOT2, 0x00000001, 0x00409a00
    BASE SLOT2, over
    movl $0, body_ip
    ljmp $SLOT2, $0
    DONE
    TRY "code: an instruction across the limit"
    DESCRIPTOR SLOT2, 0x00000001, 0x00409a00
    BASE SLOT2, across
    movl $0, body_ip
    ljmp $SLOT2, $0
    DONE
    TRY "code: load through execute-only code"
    DESCRIPTOR SLOT1, 0x0000ffff, 0x00cf9800
    ljmp $SLOT1, $1f
1:  mov %cs:scratch, %eax
    DONE
    TRY "stack: push behind the limit, in ring 3"
    DESCRIPTOR SLOT3, 0x00000fff, 0x0040f200
    USER_ON_SLOT3 0x1002
    push %eax
    BACK
    TRY "stack: pop behind the limit, in ring 3"
    USER_ON_SLOT3 0xffe
    pop %eax
    BACK
    TRY "stack: load relative to ebp, in ring 3"
    USER_ON_SLOT3 0x800, "mov $0x1000, %ebp"
    mov (%ebp), %eax
    BACK
    TRY "stack: wraps in 16 bits, in ring 3"
    DESCRIPTOR SLOT3, 0x00000fff, 0x0000f200
    BASE SLOT3, (user_stack_top - 0x1000)
    USER_ON_SLOT3 0x5678, "mov $0x12340100, %ebx"
    mov %ebx, %esp
    push %eax
    push %eax
    mov %esp, %ecx
    int $0x80
880:
    SHOW "sp", saved + 4
    /* a gate to ring 1, so that the exception finds the stack of ring 0 */
    DESCRIPTOR SLOT1, 0x0000ffff, 0x00cfba00
    movl $(SLOT1 + 1) << 16, idt + 0x90 * 8
    movl $0xee00, idt + 0x90 * 8 + 4
    TRY "stack: the inner one of a gate has no room"
    DESCRIPTOR SLOT4, 0x00000007, 0x0040b200
    movl $(SLOT4 + 1), tss + 0x10
    movl $8, tss + 0xc
    USER
    int $0x90
880:
    TRY "stack: the inner one is not writable"
    DESCRIPTOR SLOT4, 0x0000ffff, 0x00cfb000
    USER
    int $0x90
880:
    TRY "stack: the inner one is of another ring"
    DESCRIPTOR SLOT4, 0x0000ffff, 0x00cf9200
    USER
    int $0x90
880:
    TRY "stack: the inner one is absent"
    DESCRIPTOR SLOT4, 0x0000ffff, 0x00cf3200
    USER
    int $0x90
880:
    TRY "gate: its target is behind the limit"
    DESCRIPTOR SLOT4, 0x0000ffff, 0x00cfb200
    movl $0x100000, tss + 0xc
    DESCRIPTOR SLOT1, 0x0000ffff, 0x0040ba00
    movl $0x0010ee00, idt + 0x90 * 8 + 4
    USER
    int $0x90
880:
    FINISH
over:
    nop
    nop
    nop
across:
    nop
    mov %eax, %eax
