/*
 * Entry of the benchmark kernels, by two doors: Xen PV (64-bit, page tables of the domain builder) and PVH (32-bit, paging off; QEMU and
 * Bochs). The image is linked at its physical addresses and both doors map it there, so that the same code runs at the same places.
 */
#include "../notes.h"
        xen_note 6, .asciz "bench"              /* GUEST_OS */
        xen_note 5, .asciz "xen-3.0"            /* XEN_VERSION */
        xen_note 8, .asciz "generic"            /* LOADER */
        xen_note 3, .quad 0                     /* VIRT_BASE */
        xen_note 4, .quad 0                     /* PADDR_OFFSET */
        xen_note 1, .quad pv_start              /* ENTRY */
        xen_note 18, .long pvh_start            /* PHYS32_ENTRY */
        xen_note 10, .asciz "!writable_page_tables"

        .section .text.start, "ax"
        .globl pv_start
        .type pv_start, @function
pv_start:
        cld
        movl $stack_top, %esp
        xorl %ebp, %ebp
        leaq 128(%rsi), %rdi                    /* start_info.cmd_line: behind the fields, see xen.h */
        movl $1, %esi
        call kernel_main
        ud2
        .size pv_start, . - pv_start

        .code32
        .globl pvh_start
        .type pvh_start, @function
pvh_start:
        cld
        movl $stack_top, %esp
        movl %ebx, %esi                         /* hvm_start_info */
        movl $__bss_start, %edi
        movl $__image_end, %ecx
        subl %edi, %ecx
        shrl $2, %ecx
        xorl %eax, %eax
        rep stosl
        /* the first GiB onto itself, by pages of 2 MiB */
        movl $level3 + 3, level4
        movl $level2 + 3, level3
        movl $level2, %edi
        movl $0x83, %eax
1:      movl %eax, (%edi)
        addl $8, %edi
        addl $0x200000, %eax
        cmpl $0x40000083, %eax
        jne 1b
        movl %cr4, %eax
        orl $0x620, %eax                        /* PAE, OSFXSR, OSXMMEXCPT */
        movl %eax, %cr4
        movl $level4, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x100, %eax                        /* EFER.LME */
        wrmsr
        movl %cr0, %eax
        andl $~0xc, %eax                        /* EM, TS */
        orl $0x80000003, %eax                   /* PG, MP, PE */
        movl %eax, %cr0
        lgdt gdt_pointer
        ljmp $8, $2f
        .code64
2:      movl $16, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        xorl %ebp, %ebp
        movl %esi, %esi
        movq 24(%rsi), %rdi                     /* hvm_start_info.cmdline_paddr */
        xorl %esi, %esi
        call kernel_main
        ud2
        .size pvh_start, . - pvh_start

        .section .rodata
        .balign 8
gdt:    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
        .word . - gdt - 1
        .long gdt

        .bss
        .balign 4096
level4: .skip 4096
level3: .skip 4096
level2: .skip 4096
        .skip 16384
stack_top:
        .section .note.GNU-stack, "", @progbits
