/* Entry of the endings guest, and what its traps enter. See kernel.c for what it does. */
#define GUEST_OS "endings"
#include "../pv-entry.h"

        /* Xen's frame: rcx, r11, (error code,) rip, cs, rflags, rsp, ss. */
        .macro entry name, handler, skip, native=0
        .globl \name
        .type \name, @function
\name:
        .irp r, rax, rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12
        pushq %\r
        .endr
        cld
        leaq 80(%rsp), %rdi
        call \handler
        .irp r, r12, r10, r9, r8, rbp, rdi, rsi, rdx, rbx, rax
        popq %\r
        .endr
        popq %rcx
        popq %r11
        .if \skip
        addq $8, %rsp
        .endif
        .if \native
        /* at the same privilege, events unmasked before */
        orq $3, 8(%rsp)
        movb $0, shared + 1(%rip)
        iretq
        .endif
        /* HYPERVISOR_iret: rax, r11, rcx, flags, then the machine frame */
        pushq $0
        pushq %rcx
        pushq %r11
        pushq %rax
        movl $23, %eax
        syscall
        ud2
        .size \name, . - \name
        .endm
        .text
        entry event_entry, on_event, 0
        entry native_event_entry, on_event, 0, 1
        entry page_fault_entry, on_page_fault, 1
        entry native_page_fault_entry, on_page_fault, 1, 1
        .globl failsafe_entry
failsafe_entry:
        ud2
