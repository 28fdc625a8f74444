/* 32-bit protected mode: without paging, with 32-bit paging, with PAE; gates, rings, segments, the instructions that long mode dropped. */
#define BITS 32
#include "prelude.h"

#define TABLE0 pml4
#define PAGE(n) (0x400000+(n)*4096)
#define CODE16 SLOT5

/* Page `index` above 4 MiB in the 32-bit tables. */
.macro MAP index, frame, bits
    movl $(arena + (\frame) * 4096 + (\bits)), pdpt + (\index) * 4
    invlpg PAGE(\index)
.endm
.macro SHOW_ENTRY index
    mov pdpt + (\index) * 4, %eax
    and $0xfff, %eax
    SHOW "pte", %eax
.endm
.macro CALL_GATE slot, offset, selector, attributes
    movl $\offset, gdt + \slot
    movl $\offset, gdt + \slot + 4
    movw $\selector, gdt + \slot + 2
    movw $\attributes, gdt + \slot + 4
.endm

main:
    TRY "DE"
    xor %ecx, %ecx
    FLAGS 2
    div %ecx
    DONE
    TRY "DE aam"
    FLAGS 2
    aam $0
    DONE
    TRY "BR below"
    movl $10, scratch
    movl $20, scratch + 4
    mov $9, %eax
    bound %eax, scratch
    DONE
    TRY "BR above"
    mov $21, %eax
    bound %eax, scratch
    DONE
    TRY "BR inside"
    mov $20, %eax
    bound %eax, scratch
    mov $10, %eax
    bound %eax, scratch
    DONE
    TRY "BR of 16 bits, signed"
    movw $-5, scratch
    movw $5, scratch + 2
    mov $-5, %eax
    boundw %ax, scratch
    mov $-6, %eax
    boundw %ax, scratch
    DONE
    TRY "OF into"
    mov $0x7f, %al
    inc %al
    into
    DONE
    TRY "into without OF"
    FLAGS 2
    into
    DONE
    TRY "UD bound of a register"
    .byte 0x62, 0xc0
    DONE
    TRY "arpl"
    mov $0x10, %eax
    mov $0x13, %ecx
    arpl %cx, %ax
    setz %dl
    movzbl %dl, %edx
    SHOW "ax", %eax
    SHOW "zf", %edx
    DONE
    TRY "UD les of a register"
    .byte 0xc4, 0xc0
    DONE
    TRY "UD syscall"
    syscall
    DONE
    TRY "NP es"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf1300
    mov $SLOT0, %eax
    mov %eax, %es
    DONE
    TRY "SS not present"
    mov $SLOT0, %eax
    mov %eax, %ss
    DONE
    TRY "GP null stack segment"
    xor %eax, %eax
    mov %eax, %ss
    DONE
    TRY "GP jump to a null segment"
    ljmp $0, $0
    DONE
    TRY "INT 0x55"
    int $0x55
    DONE
    TRY "INT through a trap gate"
    movb $0x8f, idt + 0x58 * 8 + 5
    RETURNS 1
    FLAGS 0x202
    int $0x58
    pushf
    cli
    SHOW "fl", (%esp)
    DONE
    TRY "INT through a gate of 16 bits"
    movb $0x86, idt + 0x59 * 8 + 5
    DESCRIPTOR CODE16, 0x0000ffff, 0x00cf9a10
    movw $narrow - 0x100000, idt + 0x59 * 8
    movw $CODE16, idt + 0x59 * 8 + 2
    movw $0, idt + 0x59 * 8 + 6
    mov %esp, %ebx
    int $0x59
    DONE
    jmp 1f
narrow:
    sub %esp, %ebx
    SHOW "frame", %ebx
    movzwl (%esp), %eax
    add $0x100000, %eax
    sub body_ip, %eax
    SHOW "ip", %eax
    ljmp $KERNEL_CODE, $880b
1:
    TRY "pusha and popa"
    mov $1, %eax
    mov $2, %ecx
    mov $3, %edx
    mov %esp, %ebx
    pusha
    mov 28(%esp), %esi
    mov 24(%esp), %edi
    SHOW "ax", %esi
    SHOW "cx", %edi
    mov 12(%esp), %eax
    sub %ebx, %eax
    SHOW "sp", %eax
    popa
    DONE
    TRY "push and pop of segments"
    push %ds
    pop %es
    push %fs
    pop %fs
    pushw %ds
    popw %gs
    mov %gs, %eax
    SHOW "gs", %eax
    DONE
    TRY "les and lds"
    movl $0x12345678, scratch
    movl $KERNEL_DATA, scratch + 4
    les scratch, %eax
    SHOW "ax", %eax
    DONE
    TRY "a data segment with a base"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf9210
    movl $0x88, scratch
    mov $SLOT0, %eax
    mov %eax, %es
    mov %es:scratch - 0x100000, %eax
    SHOW "value", %eax
    DONE
    TRY "an expand-down segment"
    DESCRIPTOR SLOT0, 0x00000000, 0x00c09600
    mov $SLOT0, %eax
    mov %eax, %es
    mov %es:scratch, %eax
    SHOW "value", %eax
    lsl %ax, %ecx
    mov $SLOT0, %eax
    lar %eax, %ecx
    and $0xf0ff00, %ecx
    SHOW "lar", %ecx
    DONE
    TRY "int to ring 0 and back"
    USER 0x202
    BACK
    TRY "exception in ring 3"
    USER
    ud2
    BACK
    TRY "ring 3 cli"
    USER
    cli
    BACK
    TRY "ring 3 int 0x20"
    USER
    int $0x20
    BACK
    TRY "ring 3 popf and pushf"
    USER 0x202
    push $0x3002
    popf
    BACK
    TRY "call gate with parameters"
    CALL_GATE SLOT1, gated, KERNEL_CODE, 0xec02
    USER
    push $0x1111
    push $0x2222
    lcall $SLOT1 + 3, $0
    mov %esp, %eax
    BACK
    mov $user_stack_top, %eax
    sub saved, %eax
    SHOW "left", %eax
    TRY "call gate of 16 bits"
    CALL_GATE SLOT1, gated16-0x100000, CODE16, 0xe400
    USER
    lcall $SLOT1 + 3, $0
    BACK
    TRY "call gate from ring 0"
    CALL_GATE SLOT1, 1f, KERNEL_CODE, 0x8c00
    mov %esp, %ebx
    lcall $SLOT1, $0
1:  sub %esp, %ebx
    SHOW "frame", %ebx
    SHOW "cs", 4(%esp)
    DONE
    TRY "far return to ring 3"
    push $USER_DATA
    push $user_stack_top
    push $USER_CODE32
    push $1f
    movl $1f, body_ip
    lret
1:  BACK
    TRY "iret to a data segment"
    pushf
    push $KERNEL_DATA
    push $0
    movl $1f, body_ip
1:  iret
    DONE
    TRY "iret to the same ring"
    push $0x246
    push $KERNEL_CODE
    push $1f
    iret
1:  pushf
    SHOW "fl", (%esp)
    DONE
    TRY "iret of 16 bits"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf9a10
    pushw $0x46
    pushw $SLOT0
    pushw $1f - 0x100000
    iretw
1:  mov %cs, %eax
    ljmp $KERNEL_CODE, $1f
1:  SHOW "cs", %eax
    DONE
    TRY "one step"
    FLAGS 0x102
    nop
    DONE
    TRY "step over mov ss"
    mov %ss, %eax
    FLAGS 0x102
    mov %eax, %ss
    nop
    DONE
    TRY "step over pop ss"
    push %ss
    FLAGS 0x102
    pop %ss
    nop
    DONE
    TRY "step over into that does not raise"
    FLAGS 0x102
    into
    nop
    DONE
    TRY "rep movsb without paging"
    mov $scratch, %esi
    mov $scratch + 16, %edi
    mov $5, %ecx
    rep movsb
    SHOW "cx", %ecx
    DONE
    TRY "smsw and lmsw"
    smsw %eax
    SHOW "cr0", %eax
    or $8, %eax
    lmsw %ax
    fld1
    DONE
    clts

    TRY "paging of 32 bits"
    mov %cr4, %eax
    or $0x10, %eax
    mov %eax, %cr4
    movl $0x87, TABLE0
    movl $(pdpt + 7), TABLE0 + 4
    mov $TABLE0, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    jmp 1f
1:  SHOW "cr0", %eax
    DONE
    TRY "read absent"
    mov PAGE(0), %eax
    DONE
    TRY "write absent"
    mov %eax, PAGE(0)
    DONE
    TRY "absent directory entry"
    mov %eax, 0x800000
    DONE
    TRY "fetch absent"
    mov $PAGE(0), %eax
    mov %eax, body_ip
    jmp *%eax
    DONE
    TRY "write read-only"
    MAP 0, 0, 5
    mov %eax, PAGE(0)
    DONE
    TRY "user writes supervisor"
    MAP 0, 0, 3
    USER
    mov %eax, PAGE(0)
    BACK
    TRY "accessed and dirty"
    MAP 0, 0, 7
    mov PAGE(0), %eax
    SHOW_ENTRY 0
    mov %eax, PAGE(0)
    SHOW_ENTRY 0
    DONE
    TRY "write across, second absent"
    movl $0, arena + 4092
    movl $0, pdpt + 4
    movl $-1, PAGE(1)-2
    DONE
    SHOW "value", arena + 4092
    TRY "rep stosl to an absent page"
    mov $PAGE(1)-8, %edi
    mov $10, %ecx
    mov $3, %eax
    rep stosl
    DONE
    SHOW "cx", saved + 4
    SHOW "di", saved + 16
    TRY "large page"
    mov TABLE0, %eax
    and $0xfff, %eax
    SHOW "pde", %eax
    DONE

    TRY "PAE paging"
    mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    movl $(directory + 1), arena
    movl $0, arena + 4
    movl $0, arena + 8
    movl $0, arena + 16
    movl $0, arena + 24
    movl $0x87, directory
    movl $0, directory + 4
    movl $(window_table + 7), directory + 16
    movl $(arena + 0x1007), window_table
    movl $0, window_table + 4
    mov $arena, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    mov PAGE(0), %eax
    DONE
    mov window_table, %eax
    and $0xfff, %eax
    SHOW "pte", %eax
    TRY "absent directory pointer"
    mov 0x40000000, %eax
    DONE
    TRY "absent page"
    mov PAGE(1), %eax
    DONE
    TRY "reserved bit of a PAE entry"
    movl $0x00100000, window_table + 4
    invlpg PAGE(0)
    mov PAGE(0), %eax
    DONE
    movl $0, window_table + 4
    TRY "user reads supervisor under PAE"
    movl $0x83, directory
    movl $(arena + 0x1003), window_table
    mov $arena, %eax
    mov %eax, %cr3
    movl $0x87, directory
    invlpg PAGE(0)
    USER
    mov PAGE(0), %eax
    BACK
    movl $(arena + 0x1007), window_table
    TRY "no-execute"
    mov $0xc0000080, %ecx
    rdmsr
    or $0x800, %eax
    wrmsr
    movl $0x80000000, window_table + 4
    invlpg PAGE(0)
    mov $PAGE(0), %eax
    mov %eax, body_ip
    jmp *%eax
    DONE
    FINISH

gated:
    mov %ss, %eax
    SHOW "ss", %eax
    mov $inner_stack_top, %eax
    sub %esp, %eax
    SHOW "sp", %eax
    SHOW "parameter", 8(%esp)
    SHOW "parameter", 12(%esp)
    lret $8
gated16:
    mov $inner_stack_top, %eax
    sub %esp, %eax
    SHOW "sp", %eax
    int $0x80
