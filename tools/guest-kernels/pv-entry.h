/*
 * How a PV kernel linked at -2 GiB starts: its Xen notes with GUEST_OS as its name, the stack, and the jump into C with start_info as
 * the argument of kernel_main().
 */
#include "notes.h"
        xen_note 6, .asciz GUEST_OS             /* GUEST_OS */
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

        .bss
        .balign 16
        .skip 8192
.Lboot_stack_top:
        .section .note.GNU-stack, "", @progbits
