/* Every exception that a long-mode kernel can raise by one instruction, with its error code and its frame. */
#define BITS 64
#include "prelude.h"

main:
    TRY "DE div by zero"
    xor %ecx, %ecx
    FLAGS 0x2
    div %ecx
    DONE
    TRY "DE div overflow"
    mov $1, %edx
    mov $1, %ecx
    div %ecx
    DONE
    TRY "DE idiv overflow"
    mov $0x80000000, %eax
    mov $-1, %edx
    mov $-1, %ecx
    idivl %ecx
    DONE
    TRY "BP int3"
    int3
    DONE
    TRY "BP int 3"
    .byte 0xcd, 3
    DONE
    TRY "OF int 4"
    int $4
    DONE
    TRY "DB icebp"
    .byte 0xf1
    DONE

    TRY "INT 0x55"
    int $0x55
    DONE
    TRY "INT to a gate that is absent"
    andb $0x7f, idt + 0x56 * 16 + 5
    int $0x56
    DONE
    TRY "INT to a gate of another type"
    movb $0x8c, idt + 0x57 * 16 + 5
    int $0x57
    DONE
    TRY "INT through a trap gate"
    movb $0x8f, idt + 0x58 * 16 + 5
    RETURNS 1
    FLAGS 0x202
    int $0x58
    pushf
    cli
    SHOW "fl", (%rsp)
    DONE
    TRY "INT through an interrupt gate"
    RETURNS 1
    FLAGS 0x202
    int $0x59
    pushf
    cli
    SHOW "fl", (%rsp)
    DONE
    TRY "INT beyond the limit of the IDT"
    movw $(0x60 * 16 - 1), idt_pointer
    lidt idt_pointer
    int $0x60
    DONE
    movw $4095, idt_pointer
    lidt idt_pointer
    TRY "INT to a null code segment"
    movw $0, idt + 0x5a * 16 + 2
    int $0x5a
    DONE
    TRY "INT to a data segment"
    movw $0x10, idt + 0x5a * 16 + 2
    int $0x5a
    DONE
    TRY "INT to a 32-bit code segment"
    movw $0x18, idt + 0x5a * 16 + 2
    int $0x5a
    DONE
    TRY "INT to a code segment beyond the GDT"
    movw $0x1000, idt + 0x5a * 16 + 2
    int $0x5a
    DONE
    TRY "INT to a code segment of less privilege"
    movw $0x30, idt + 0x5a * 16 + 2
    int $0x5a
    DONE
    TRY "INT to a code segment that is absent"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00af1b00
    movw $SLOT0, idt + 0x5a * 16 + 2
    int $0x5a
    DONE

    TRY "UD ud2"
    ud2
    DONE
    TRY "UD ud1"
    .byte 0x0f, 0xb9, 0xc0
    DONE
    TRY "UD push es"
    .byte 0x06
    DONE
    TRY "UD daa"
    .byte 0x27
    DONE
    TRY "UD into"
    .byte 0xce
    DONE
    TRY "UD far jump"
    .byte 0xea, 0, 0, 0, 0, 8, 0
    DONE
    TRY "UD lea of a register"
    .byte 0x8d, 0xc0
    DONE
    TRY "UD mov to cs"
    .byte 0x8e, 0xc8
    DONE
    TRY "UD mov to segment 6"
    .byte 0x8e, 0xf0
    DONE
    TRY "UD mov from segment 7"
    .byte 0x8c, 0xf8
    DONE
    TRY "UD cr1"
    .byte 0x0f, 0x20, 0xc8
    DONE
    TRY "UD cr5"
    .byte 0x0f, 0x22, 0xe8
    DONE
    TRY "UD lock nop"
    .byte 0xf0, 0x90
    DONE
    TRY "UD lock add register"
    .byte 0xf0, 0x01, 0xc0
    DONE
    TRY "UD lock mov"
    .byte 0xf0, 0x89, 0x03
    DONE
    TRY "UD lock cmp"
    lea scratch, %rbx
    .byte 0xf0, 0x39, 0x03
    DONE
    TRY "UD far call through a register"
    .byte 0xff, 0xd8
    DONE
    TRY "UD group 5 /7"
    .byte 0xff, 0xf8
    DONE
    TRY "UD group 1A /1"
    .byte 0x8f, 0xc8
    DONE
    TRY "UD lgdt of a register"
    .byte 0x0f, 0x01, 0xd7
    DONE
    TRY "UD sysret without SCE, in order"
    mov $0xc0000080, %ecx
    rdmsr
    and $~1, %eax
    wrmsr
    syscall
    DONE
    TRY "UD dr4 with DE"
    mov %cr4, %rax
    or $8, %eax
    mov %rax, %cr4
    .byte 0x0f, 0x21, 0xe0
    DONE
    TRY "dr4 without DE"
    mov %cr4, %rax
    and $~8, %eax
    mov %rax, %cr4
    .byte 0x0f, 0x21, 0xe0
    SHOW "dr4", %rax
    DONE

    /* the stack is not usable: these need one of their own */
    movb $1, idt + 12 * 16 + 4
    movb $1, idt + 13 * 16 + 4
    TRY "SS push"
    movabs $0x0000800000000008, %rsp
    push %rax
    DONE
    TRY "SS by rbp"
    mov $0x0000800000000000, %rbp
    mov (%rbp), %eax
    DONE
    TRY "SS by rsp and index"
    mov $0x0000800000000000, %rbx
    mov (%rsp, %rbx), %eax
    DONE
    TRY "SS call"
    movabs $0x8000000000000000, %rsp
    call main
    DONE
    TRY "SS pop"
    movabs $0x8000000000000000, %rsp
    pop %rax
    DONE
    TRY "SS leave"
    movabs $0x8000000000000000, %rbp
    leave
    DONE
    movb $0, idt + 12 * 16 + 4
    movb $0, idt + 13 * 16 + 4

    TRY "GP load"
    mov $0x0000800000000000, %rbx
    mov (%rbx), %eax
    DONE
    TRY "GP load across the canonical edge"
    mov $0x00007ffffffffffd, %rbx
    mov (%rbx), %rax
    DONE
    TRY "GP store"
    mov $0xffff7fffffffffff, %rbx
    mov %al, (%rbx)
    DONE
    TRY "GP rmw"
    lock incq (%rbx)
    DONE
    TRY "GP movaps"
    movaps scratch + 4, %xmm0
    DONE
    TRY "GP paddd"
    paddd scratch + 8, %xmm0
    DONE
    TRY "movupd"
    movupd scratch + 4, %xmm0
    DONE
    TRY "GP fxsave"
    fxsave arena + 8
    DONE
    TRY "fifteen bytes"
    .fill 14, 1, 0x2e
    nop
    DONE
    TRY "GP sixteen bytes"
    .fill 15, 1, 0x2e
    nop
    DONE
    TRY "GP mov cr8"
    mov $16, %eax
    mov %rax, %cr8
    DONE

    TRY "GP selector beyond the GDT"
    mov $0x1003, %eax
    mov %eax, %es
    DONE
    TRY "GP selector without LDT"
    mov $0x0f, %eax
    mov %eax, %es
    DONE
    TRY "GP system selector"
    mov $TSS_SELECTOR, %eax
    mov %eax, %ds
    DONE
    TRY "GP execute-only code"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00af9900
    mov $SLOT0, %eax
    mov %eax, %ds
    DONE
    TRY "GP ss code"
    mov $0x18, %eax
    mov %eax, %ss
    DONE
    TRY "GP ss read-only"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf9100
    mov $SLOT0, %eax
    mov %eax, %ss
    DONE
    TRY "GP ss RPL"
    mov $0x13, %eax
    mov %eax, %ss
    DONE
    TRY "GP ss DPL"
    mov $0x28, %eax
    mov %eax, %ss
    DONE
    TRY "ss null"
    xor %eax, %eax
    mov %eax, %ss
    mov %ss, %eax
    SHOW "ss", %rax
    DONE
    TRY "GP ss null with RPL"
    mov $3, %eax
    mov %eax, %ss
    DONE
    mov $KERNEL_DATA, %eax
    mov %eax, %ss
    TRY "NP es"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf1300
    mov $SLOT0 + 1, %eax
    mov %eax, %es
    DONE
    TRY "SS not present"
    mov $SLOT0, %eax
    mov %eax, %ss
    DONE
    TRY "accessed bit"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf9200
    mov $SLOT0, %eax
    mov %eax, %fs
    SHOW "descriptor", gdt + SLOT0
    DONE
    TRY "lldt of a data segment"
    lldt %ax
    DONE
    TRY "lldt absent"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00000200
    movl $0, gdt + SLOT1
    movl $0, gdt + SLOT1 + 4
    mov $SLOT0, %eax
    lldt %ax
    DONE
    TRY "ltr busy"
    mov $TSS_SELECTOR, %eax
    ltr %ax
    DONE
    TRY "ltr null"
    xor %eax, %eax
    ltr %ax
    DONE
    TRY "lar lsl verr verw"
    mov $TSS_SELECTOR, %ecx
    xor %eax, %eax
    lar %ecx, %eax
    and $0xf0ff00, %eax
    SHOW "lar", %rax
    lsl %ecx, %eax
    SHOW "lsl", %rax
    mov $0x18, %ecx
    lar %ecx, %eax
    and $0xf0ff00, %eax
    SHOW "lar", %rax
    lsl %ecx, %eax
    SHOW "lsl", %rax
    verr %cx
    setz %al
    SHOW "verr", %rax
    verw %cx
    setz %al
    SHOW "verw", %rax
    mov $0x1000, %ecx
    lar %ecx, %eax
    setz %al
    SHOW "out", %rax
    DONE

    TRY "NM x87"
    mov %cr0, %rax
    or $8, %eax
    mov %rax, %cr0
    fld1
    DONE
    TRY "NM sse"
    addps %xmm0, %xmm0
    DONE
    TRY "NM fwait"
    fwait
    DONE
    TRY "NM fxsave"
    fxsave arena
    DONE
    TRY "NM mmx"
    paddd %mm0, %mm0
    DONE
    TRY "no NM for mfence, prefetch, ldmxcsr"
    mfence
    prefetchnta scratch
    DONE
    TRY "NM stmxcsr"
    stmxcsr scratch
    DONE
    TRY "fwait without MP"
    mov %cr0, %rax
    and $~2, %eax
    mov %rax, %cr0
    fwait
    DONE
    TRY "NM x87 by EM"
    clts
    mov %cr0, %rax
    or $4, %eax
    mov %rax, %cr0
    fld1
    DONE
    TRY "UD sse by EM"
    addps %xmm0, %xmm0
    DONE
    TRY "UD mmx by EM"
    paddd %mm0, %mm0
    DONE
    mov %cr0, %rax
    and $~4, %eax
    or $2, %eax
    mov %rax, %cr0
    TRY "UD sse without OSFXSR"
    mov %cr4, %rax
    and $~0x200, %eax
    mov %rax, %cr4
    addps %xmm0, %xmm0
    DONE
    TRY "mmx without OSFXSR"
    paddd %mm0, %mm0
    emms
    DONE
    mov %cr4, %rax
    or $0x200, %eax
    mov %rax, %cr4
    FINISH
