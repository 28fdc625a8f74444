/* Long mode's submodes: compatibility mode, far transfers, call gates, leaving long mode and coming back. */
#define BITS 64
#include "prelude.h"

#define CODE16 SLOT5
/* Goes to 32-bit code and back. */
.macro COMPATIBLE
    push $KERNEL_CODE32
    push $1f
    lretq
    .code32
1:
.endm
.macro LONG
    ljmp $KERNEL_CODE, $1f
    .code64
1:
.endm
.macro SHOW_CS label
    mov %cs, %eax
    SHOW "\label", %rax
.endm
/* A call gate of sixteen bytes. */
.macro CALL_GATE slot, offset, selector, attributes
    movl $\offset, gdt + \slot
    movl $\offset, gdt + \slot + 4
    movw $\selector, gdt + \slot + 2
    movw $\attributes, gdt + \slot + 4
    movl $0, gdt + \slot + 8
    movl $0, gdt + \slot + 12
.endm

main:
    TRY "compatibility mode"
    COMPATIBLE
    movl $1, %eax
    .byte 0x40 /* inc %eax */
    mov %cs, %ebx
    LONG
    SHOW "ax", %rax
    SHOW "cs", %rbx
    DONE
    TRY "upper halves after compatibility mode"
    mov $-1, %r8
    COMPATIBLE
    mov $5, %ecx
    LONG
    SHOW "r8", %r8
    SHOW "cx", %rcx
    DONE
    TRY "addresses wrap at 32 bits"
    movl $0x77, scratch
    mov $scratch, %ebx
    COMPATIBLE
    sub $0x1000, %ebx
    mov $0xffffffff, %ecx
    mov 0x1001(%ebx, %ecx), %eax
    LONG
    SHOW "value", %rax
    DONE
    TRY "a data segment with a base"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf9210
    movl $0x88, scratch
    mov $SLOT0, %eax
    mov %eax, %es
    COMPATIBLE
    mov %es:scratch - 0x100000, %eax
    LONG
    SHOW "value", %rax
    mov %es:scratch, %eax
    SHOW "flat", %rax
    DONE
    TRY "fs and gs bases in 64-bit mode"
    mov $SLOT0, %eax
    mov %eax, %fs
    mov %fs:scratch - 0x100000, %eax
    SHOW "value", %rax
    xor %eax, %eax
    mov %eax, %fs
    mov $0xc0000100, %ecx
    mov $0x100000, %eax
    mov $0, %edx
    wrmsr
    mov %fs:scratch - 0x100000, %eax
    SHOW "value", %rax
    DONE
    TRY "exception in compatibility mode"
    COMPATIBLE
    movl $1f, body_ip
1:  ud2
    .code64
    DONE
    TRY "bound and into in compatibility mode"
    COMPATIBLE
    movl $1f, body_ip
    movl $3, scratch
    movl $5, scratch + 4
    mov $6, %eax
1:  bound %eax, scratch
    .code64
    DONE
    TRY "into in compatibility mode"
    COMPATIBLE
    movl $1f, body_ip
    mov $0x7f, %al
    inc %al
1:  into
    .code64
    DONE
    TRY "aam by zero in compatibility mode"
    COMPATIBLE
    movl $1f, body_ip
    FLAGS 2
1:  aam $0
    .code64
    DONE
    TRY "page fault in compatibility mode"
    COMPATIBLE
    movl $1f, body_ip
1:  mov 0xfffffff0, %eax
    .code64
    DONE
    TRY "page fault across 4 GiB in compatibility mode"
    COMPATIBLE
    movl $1f, body_ip
1:  mov %eax, 0xfffffffe
    .code64
    DONE
    TRY "load through a null segment in compatibility mode"
    xor %eax, %eax
    mov %eax, %gs
    COMPATIBLE
    movl $1f, body_ip
1:  mov %gs:scratch, %eax
    LONG
    DONE
    TRY "pushes of 16 and 32 bits"
    COMPATIBLE
    mov %esp, %ebx
    push $1
    pushw $2
    push %es
    pusha
    sub %esp, %ebx
    add %ebx, %esp
    LONG
    SHOW "bytes", %rbx
    DONE
    TRY "16-bit code"
    DESCRIPTOR CODE16, 0x0000ffff, 0x008f9a10
    DESCRIPTOR SLOT0, 0x0000ffff, 0x008f9210
    mov $SLOT0, %eax
    mov %eax, %ss
    push $CODE16
    push $1f - 0x100000
    lretq
    .code16
1:  mov $0x1234, %ax
    mov %sp, %bx
    push %ax
    mov %sp, %cx
    sub %cx, %bx
    add $2, %sp
    ljmpl $KERNEL_CODE, $1f
    .code64
1:  SHOW "ax", %rax
    movzwl %bx, %ebx
    SHOW "pushed", %rbx
    DONE
    mov $KERNEL_DATA, %eax
    mov %eax, %ss

    TRY "far return to 64-bit code"
    pushq $KERNEL_CODE
    push $1f
    lretq
1:  SHOW_CS "cs"
    DONE
    TRY "far return of 32 bits"
    sub $8, %rsp
    movl $1f, (%rsp)
    movl $KERNEL_CODE, 4(%rsp)
    lretl
1:  SHOW_CS "cs"
    DONE
    TRY "far return that releases bytes"
    mov %rsp, %rbx
    sub $24, %rsp
    push $KERNEL_CODE
    push $1f
    lretq $16
1:  sub %rsp, %rbx
    SHOW "left", %rbx
    DONE
    TRY "far jump through memory"
    movl $1f, scratch
    movw $KERNEL_CODE, scratch + 4
    ljmpl *scratch
1:  SHOW_CS "cs"
    DONE
    TRY "far jump of 64 bits through memory"
    movq $1f, scratch
    movw $KERNEL_CODE, scratch + 8
    rex.w ljmp *scratch
1:  SHOW_CS "cs"
    DONE
    TRY "far call and far return"
    movl $1f, scratch
    movw $KERNEL_CODE, scratch + 4
    lcalll *scratch
    SAY " back"
    DONE
    jmp 2f
1:  SHOW "frame", (%rsp)
    lretl
2:
    TRY "far jump to a null selector"
    movw $0, scratch + 4
    ljmpl *scratch
    DONE
    TRY "far jump to a data segment"
    movw $KERNEL_DATA, scratch + 4
    ljmpl *scratch
    DONE
    TRY "far jump to a TSS"
    movw $TSS_SELECTOR, scratch + 4
    ljmpl *scratch
    DONE
    TRY "far jump to user code"
    movw $USER_CODE64, scratch + 4
    ljmpl *scratch
    DONE
    TRY "far jump beyond the GDT"
    movw $0xfff8, scratch + 4
    ljmpl *scratch
    DONE
    TRY "far jump to absent code"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00af1b00
    movw $SLOT0, scratch + 4
    ljmpl *scratch
    DONE
    TRY "far return inward"
    USER
    push $KERNEL_CODE
    push $1f
    lretq
1:  BACK
    TRY "far return outward"
    movl $1f, body_ip
    push $USER_DATA
    push $user_stack_top
    push $USER_CODE64
    push $1f
    lretq
1:  BACK
    TRY "far return outward to compatibility mode"
    movl $1f, body_ip
    push $USER_DATA
    push $user_stack_top
    push $USER_CODE32
    push $1f
    lretq
    .code32
1:  BACK
    .code64

    TRY "call gate from ring 3"
    CALL_GATE SLOT1, gated, KERNEL_CODE, 0xec00
    movl $0, scratch
    movw $SLOT1 + 3, scratch + 4
    USER
    lcalll *scratch
    nop
    BACK
    TRY "jump through the gate from ring 3"
    USER
    ljmpl *scratch
    BACK
    TRY "call gate from ring 0"
    movw $SLOT1, scratch + 4
    lcalll *scratch
    DONE
    TRY "jump through the gate from ring 0"
    movw $SLOT1, scratch + 4
    movl $jumped, gdt + SLOT1
    movw $KERNEL_CODE, gdt + SLOT1 + 2
    movl $jumped, %eax
    shr $16, %eax
    mov %ax, gdt + SLOT1 + 6
    ljmpl *scratch
jumped:
    SAY " jumped"
    DONE
    TRY "call gate of DPL 0 from ring 3"
    CALL_GATE SLOT1, gated, KERNEL_CODE, 0x8c00
    movw $SLOT1 + 3, scratch + 4
    USER
    lcalll *scratch
    BACK
    TRY "absent call gate"
    CALL_GATE SLOT1, gated, KERNEL_CODE, 0x6c00
    USER
    lcalll *scratch
    BACK
    TRY "call gate to 32-bit code"
    CALL_GATE SLOT1, gated, KERNEL_CODE32, 0xec00
    USER
    lcalll *scratch
    BACK
    TRY "call gate to data"
    CALL_GATE SLOT1, gated, KERNEL_DATA, 0xec00
    USER
    lcalll *scratch
    BACK
    TRY "call gate with an upper half that has a type"
    CALL_GATE SLOT1, gated, KERNEL_CODE, 0xec00
    movl $0x1f00, gdt + SLOT1 + 12
    USER
    lcalll *scratch
    BACK
    TRY "call gate from compatibility mode of ring 3"
    CALL_GATE SLOT1, gated, KERNEL_CODE, 0xec00
    push $USER_DATA
    push $user_stack_top
    push $2
    push $USER_CODE32
    push $1f
    movl $1f, body_ip
    iretq
    .code32
1:  lcall $SLOT1 + 3, $0
    BACK
    .code64
    TRY "conforming code from ring 3"
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00af9e00
    movl $1f, scratch
    movw $SLOT0, scratch + 4
    USER
    ljmpl *scratch
1:  mov %cs, %eax
    BACK
    SHOW "cs", saved

    TRY "a segment of the LDT"
    movw $15, gdt + LDT_SELECTOR
    movl $arena, %eax
    mov %ax, gdt + LDT_SELECTOR + 2
    shr $16, %eax
    mov %al, gdt + LDT_SELECTOR + 4
    movw $0x0082, gdt + LDT_SELECTOR + 5
    mov $LDT_SELECTOR, %eax
    lldt %ax
    movl $0x0000ffff, arena
    movl $0x00cf9210, arena + 4
    movl $0x99, scratch
    mov $4, %eax
    mov %eax, %fs
    mov %fs:scratch - 0x100000, %eax
    SHOW "value", %rax
    DONE
    TRY "beyond the limit of the LDT"
    mov $0x14, %eax
    mov %eax, %fs
    DONE

    TRY "leaving long mode and coming back"
    COMPATIBLE
    mov %cr0, %eax
    btr $31, %eax
    mov %eax, %cr0
    mov $0xc0000080, %ecx
    rdmsr
    mov %eax, %ebx
    mov $scratch, %esi
    movl $0x4321, (%esi)
    mov %cr4, %eax
    mov %eax, %ebp
    mov %cr0, %eax
    bts $31, %eax
    mov %eax, %cr0
    rdmsr
    LONG
    SHOW "efer without paging", %rbx
    SHOW "efer", %rax
    SHOW "value", scratch
    DONE
    TRY "without LME there is PAE paging"
    mov $0xc0000080, %ecx
    rdmsr
    mov %eax, %edi
    COMPATIBLE
    mov %cr0, %eax
    btr $31, %eax
    mov %eax, %cr0
    mov %edi, %eax
    btr $8, %eax
    wrmsr
    /* four directory pointers, of which the first and second are used; they have no rights of their own */
    movl $directory + 1, arena + 0x20
    movl $0, arena + 0x24
    movl $window_directory + 1, arena + 0x28
    movl $0, arena + 0x2c
    movl $0, arena + 0x30
    movl $0, arena + 0x38
    movl $arena + 0x1003, window_table
    movl $0x5678, arena + 0x1000
    mov $arena + 0x20, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    bts $31, %eax
    mov %eax, %cr0
    rdmsr
    mov %eax, %ebp
    mov WINDOW, %ebx
    mov %cr0, %eax
    btr $31, %eax
    mov %eax, %cr0
    mov $pml4, %eax
    mov %eax, %cr3
    mov %edi, %eax
    xor %edx, %edx
    wrmsr
    mov %cr0, %eax
    bts $31, %eax
    mov %eax, %cr0
    LONG
    SHOW "efer", %rbp
    SHOW "value", %rbx
    DONE
    FINISH

gated:
    SHOW_CS "cs"
    mov %ss, %eax
    SHOW "ss", %rax
    mov $inner_stack_top, %eax
    sub %rsp, %rax
    SHOW "sp", %rax
    mov (%rsp), %rax
    sub body_ip, %rax
    SHOW "from", %rax
    SHOW "fromcs", 8(%rsp)
    lretq
