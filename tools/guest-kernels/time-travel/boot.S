/* Entry of the time-travel guest: Xen notes, the stack, and the jump into C. See kernel.c for what it does. */
        .section .note.Xen, "a", @note
        .macro xen_note type, desc:vararg
        .balign 4
        .long 4, 2f - 1f, \type
        .asciz "Xen"
1:      \desc
2:      .balign 4
        .endm
        xen_note 6, .asciz "time-travel"       /* GUEST_OS */
        xen_note 5, .asciz "xen-3.0"            /* XEN_VERSION */
        xen_note 8, .asciz "generic"            /* LOADER */
        xen_note 3, .quad 0xffffffff80000000    /* VIRT_BASE */
        xen_note 4, .quad 0                     /* PADDR_OFFSET: p_paddr counts from 0 */
        xen_note 1, .quad start                 /* ENTRY */
        xen_note 10, .asciz "!writable_page_tables"

        .section .text.start, "ax"
        .globl start
        .type start, @function
start:
        cld
        leaq .Lboot_stack_top(%rip), %rsp
        xorl %ebp, %ebp
        movq %rsi, %rdi
        call kernel_main
        ud2
        .size start, . - start

        /* Xen's frame: rcx, r11, (error code,) rip, cs, rflags, rsp, ss. The handler may change the saved rflags. */
        .macro entry name, handler, skip
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
        entry debug_entry, on_debug, 0
        entry breakpoint_entry, on_breakpoint, 0
        entry page_fault_entry, on_page_fault, 1
        .globl failsafe_entry
failsafe_entry:
        ud2

        .bss
        .balign 16
        .skip 8192
.Lboot_stack_top:
        .section .note.GNU-stack, "", @progbits
