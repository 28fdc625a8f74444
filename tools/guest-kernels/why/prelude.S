/*
 * Start of the kernels of `why`, and their exception entries: `on_trap(struct regs *, vector)` sees all registers in memory and may change
 * them; the way back is Xen's iret. A kernel that sets no trap table never comes here.
 */
#define GUEST_OS "whykernel"
#include "pv-entry.h"

        .text
        /* Xen pushes rcx and r11 above the error code, where there is one (arch-x86_64.h). */
        .macro entry name, vector, error
        .globl \name
        .type \name, @function
\name:
        .if \error == 0
        pushq (%rsp)
        movq 16(%rsp), %rcx
        movq %rcx, 8(%rsp)
        movq $0, 16(%rsp)
        .endif
        pushq $\vector
        jmp common_entry
        .size \name, . - \name
        .endm

        entry divide_entry, 0, 0
        entry breakpoint_entry, 3, 0
        entry opcode_entry, 6, 0
        entry protection_entry, 13, 1
        entry page_fault_entry, 14, 1

        .type common_entry, @function
common_entry:
        .irp r, rax, rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15
        pushq %\r
        .endr
        cld
        movq %rsp, %rdi
        movq 13*8(%rsp), %rsi
        call on_trap
        .irp r, r15, r14, r13, r12, r10, r9, r8, rbp, rdi, rsi, rdx, rbx, rax
        popq %\r
        .endr
        addq $8, %rsp
        popq %rcx
        popq %r11
        addq $8, %rsp
        pushq $0
        pushq %rcx
        pushq %r11
        pushq %rax
        movl $23, %eax
        syscall
        ud2
        .size common_entry, . - common_entry

        /* Where a kernel without a handler of its own ends: it asks Xen for a crash. */
        .weak on_trap
        .type on_trap, @function
on_trap:
        ud2
        .size on_trap, . - on_trap
