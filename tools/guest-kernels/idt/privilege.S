/* Ring 3 and back: IRET, interrupts with stack switch, SYSCALL and SYSENTER, what ring 3 may not do. */
#define BITS 64
#include "prelude.h"

.macro DENIED name, code:vararg
    TRY "ring 3 \name"
    USER
    \code
    BACK
.endm
.macro IRET_TO name, rip, cs, flags, rsp, ss
    TRY "iret \name"
    push \ss
    push \rsp
    push \flags
    push \cs
    push \rip
    movl $884f, body_ip
884:
    iretq
.endm
.macro WRITE_MSR index, low, high=0
    mov $\index, %ecx
    mov $\low, %eax
    mov $\high, %edx
    wrmsr
.endm

main:
    TRY "int 0x80 from ring 3"
    USER 0x246
    BACK
    TRY "int 0x80 with a stack that is not aligned"
    USER 0x202
    push $1
    lea -3(%rsp), %rsp
    BACK
    TRY "exception from ring 3"
    USER 0x202
    xor %ecx, %ecx
    div %ecx
    BACK
    TRY "exception through an IST"
    movb $2, idt + 6 * 16 + 4
    lea 1(%rsp), %rsp
    ud2
    DONE
    SHOW "sp", saved
    movb $0, idt + 6 * 16 + 4
    TRY "exception with a stack that is not aligned"
    sub $5, %rsp
    ud2
    DONE
    TRY "int 0x20 from ring 3"
    USER
    int $0x20
    BACK
    TRY "int3 from ring 3"
    USER
    int3
    BACK
    TRY "int 1 from ring 3"
    USER
    int $1
    BACK

    DENIED "hlt", hlt
    DENIED "cli", cli
    DENIED "sti", sti
    DENIED "in", inb %dx, %al
    DENIED "out", outb %al, $0x80
    DENIED "lgdt", lgdt gdt_pointer
    DENIED "lidt", lidt idt_pointer
    DENIED "lldt", lldt %cx
    DENIED "ltr", ltr %cx
    DENIED "lmsw", lmsw %cx
    DENIED "clts", clts
    DENIED "invlpg", invlpg 0
    DENIED "invd", invd
    DENIED "wbinvd", wbinvd
    DENIED "mov from cr0", mov %cr0, %rax
    DENIED "mov to cr3", mov %rax, %cr3
    DENIED "mov from dr7", mov %dr7, %rax
    DENIED "rdmsr", rdmsr
    DENIED "wrmsr", wrmsr
    DENIED "swapgs", swapgs
    DENIED "sysretq", sysretq
    TRY "ring 3 mov ss of ring 0"
    USER
    mov %cs, %eax
    mov $KERNEL_DATA, %ecx
    mov %ecx, %ss
    BACK
    TRY "ring 3 mov ds of ring 0"
    USER
    mov $KERNEL_DATA, %ecx
    mov %ecx, %ds
    BACK
    TRY "ring 3 jump into the kernel half"
    USER
    mov $-4096, %rax
    jmp *%rax
    BACK
    TRY "ring 3 rdtsc with TSD"
    mov %cr4, %rax
    or $4, %eax
    mov %rax, %cr4
    USER
    rdtsc
    BACK
    mov %cr4, %rax
    and $~4, %eax
    mov %rax, %cr4
    TRY "ring 3 rdtsc"
    USER
    rdtsc
    BACK
    TRY "ring 3 smsw, str, sldt"
    USER 0x3002
    smsw %eax
    SHOW "smsw", %rax
    str %eax
    SHOW "str", %rax
    sldt %eax
    SHOW "sldt", %rax
    BACK
    TRY "ring 3 cli and sti with IOPL 3"
    USER 0x3202
    cli
    pushf
    SHOW "fl", (%rsp)
    sti
    pushf
    SHOW "fl", (%rsp)
    BACK
    TRY "ring 3 popf keeps IF and IOPL"
    USER 0x202
    push $0x3002
    popf
    BACK
    TRY "ring 3 popf with IOPL 3 changes IF"
    USER 0x3202
    push $0x2
    popf
    BACK
    TRY "ring 3 popf AC, ID, NT, DF"
    USER 0x202
    push $0x244402
    popf
    BACK
    TRY "ring 0 popf everything"
    push $0x3fffff & ~0x20100
    popf
    pushf
    pop %rax
    push $2
    popf
    SHOW "fl", %rax
    DONE
    TRY "ring 3 I/O bitmap allows"
    movw $0x187, gdt + TSS_SELECTOR
    andb $~2, gdt + TSS_SELECTOR + 5
    mov $TSS_SELECTOR, %eax
    ltr %ax
    movw $0x68, tss + 0x66
    movl $-1, tss + 0x68
    movl $-1, tss + 0x6c
    movl $0, tss + 0x68 + 28
    USER
    mov $'!', %al
    outb %al, $0xe9
    BACK
    TRY "ring 3 I/O bitmap allows one of two"
    movb $0, tss + 0x68 + 28
    movb $0xfc, tss + 0x68 + 29
    USER
    mov $0xe9, %edx
    inw %dx, %ax
    BACK
    TRY "ring 3 I/O bitmap denies"
    movb $2, tss + 0x68 + 29
    USER
    outb %al, $0xe9
    BACK
    TRY "ring 3 beyond the I/O bitmap"
    USER
    mov $0x1000, %edx
    outb %al, %dx
    BACK

    IRET_TO "to the same ring", $885f, $8, $0x246, %rsp, $0x10
885:
    pushf
    pop %rax
    mov %ss, %ecx
    SHOW "fl", %rax
    SHOW "ss", %rcx
    DONE
    IRET_TO "to a null stack segment", $885f, $8, $2, %rsp, $0
885:
    mov %ss, %ecx
    SHOW "ss", %rcx
    DONE
    mov $KERNEL_DATA, %eax
    mov %eax, %ss
    IRET_TO "with NT", $885f, $8, $2, %rsp, $0x10
885:
    DONE
    TRY "iret under NT"
    push $0x4002
    popf
    iretq
    DONE
    IRET_TO "sets everything it may", $885f, $8, $0x247cd7, %rsp, $0x10
885:
    pushf
    pop %rax
    push $2
    popf
    SHOW "fl", %rax
    DONE
    IRET_TO "to ring 3 with a null stack segment", $885f, $0x33, $2, $user_stack_top, $3
885:
    BACK
    IRET_TO "to ring 3 with the stack of ring 0", $885f, $0x33, $2, $user_stack_top, $0x10
885:
    BACK
    IRET_TO "to ring 3 with a stack of RPL 0", $885f, $0x33, $2, $user_stack_top, $0x28
885:
    BACK
    IRET_TO "to ring 3 with code of RPL 0", $885f, $0x30, $2, $user_stack_top, $0x2b
885:
    BACK
    IRET_TO "to a null code segment", $885f, $0, $2, $user_stack_top, $0x2b
885:
    BACK
    IRET_TO "to a data segment", $885f, $0x10, $2, $user_stack_top, $0x10
885:
    BACK
    IRET_TO "to a segment beyond the GDT", $885f, $0x1003, $2, $user_stack_top, $0x10
885:
    BACK
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00af7b00
    IRET_TO "to an absent code segment", $885f, $SLOT0 + 3, $2, $user_stack_top, $0x2b
885:
    BACK
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00cf7300
    IRET_TO "to an absent stack segment", $885f, $0x33, $2, $user_stack_top, $SLOT0 + 3
885:
    BACK
    DESCRIPTOR SLOT0, 0x0000ffff, 0x00effb00
    IRET_TO "to code both 64-bit and 32-bit", $885f, $SLOT0 + 3, $2, $user_stack_top, $0x2b
885:
    BACK
    IRET_TO "to compatibility mode", $compatible, $USER_CODE32, $0x3202, $user_stack_top, $USER_DATA
880:
    mov resume_sp, %rsp
    TRY "iretd from ring 0"
    mov %esp, %eax
    sub $20, %rsp
    movl $885f, (%rsp)
    movl $8, 4(%rsp)
    movl $0x46, 8(%rsp)
    mov %eax, 12(%rsp)
    movl $0x10, 16(%rsp)
    iretl
885:
    pushf
    SHOW "fl", (%rsp)
    DONE
    TRY "data segments of ring 0 are null in ring 3"
    mov $KERNEL_DATA, %eax
    mov %eax, %ds
    mov $USER_DATA, %eax
    mov %eax, %es
    USER 0x3002
    mov %ds, %eax
    SHOW "ds", %rax
    mov %es, %eax
    SHOW "es", %rax
    BACK

    WRITE_MSR 0xc0000081, 0, 0x00200008
    WRITE_MSR 0xc0000082, called
    WRITE_MSR 0xc0000084, 0x4600
    TRY "syscall from ring 3"
    USER 0x3a93
    mov $0x1111, %r11d
    syscall
886:
    BACK
    TRY "syscall from ring 0"
    FLAGS 0x246
    syscall
887:
    DONE
    TRY "sysretq"
    mov $885f, %ecx
    mov $0x3246, %r11d
    mov $user_stack_top, %esp
    movl $885f, body_ip
    sysretq
885:
    mov %cs, %eax
    SHOW "cs", %rax
    mov %ss, %eax
    SHOW "ss", %rax
    BACK
    TRY "sysretq sets what R11 says"
    mov $885f, %ecx
    mov $0xffffffff & ~0x134100, %r11d
    mov $user_stack_top, %esp
    movl $885f, body_ip
    sysretq
885:
    BACK
    TRY "sysretl"
    mov $compatible, %ecx
    mov $0x3246, %r11d
    mov $user_stack_top, %esp
    sysretl
    BACK
    TRY "sysretq out of canonical addresses"
    movabs $0x0000800000000000, %rcx
    sysretq
    DONE
    WRITE_MSR 0xc0000083, compatible_called
    IRET_TO "to syscall from compatibility mode", $compatible_call, $USER_CODE32, $0x3202, $user_stack_top, $USER_DATA
    BACK

    TRY "sysenter without its segment"
    WRITE_MSR 0x174, 0
    sysenter
    DONE
    TRY "sysenter from ring 3"
    WRITE_MSR 0x174, 8
    WRITE_MSR 0x175, inner_stack_top
    WRITE_MSR 0x176, entered
    USER 0x3246
    sysenter
    BACK
    TRY "sysexit to 64-bit code"
    DESCRIPTOR SLOT0, 0, 0
    WRITE_MSR 0x174, SLOT0
    mov $885f, %edx
    mov $user_stack_top, %ecx
    movl $885f, body_ip
    FLAGS 0x3246
    rex.w sysexit
885:
    BACK
    TRY "swapgs"
    WRITE_MSR 0xc0000101, 0x1234
    WRITE_MSR 0xc0000102, 0x5678
    swapgs
    mov $0xc0000101, %ecx
    rdmsr
    SHOW "gs", %rax
    mov $0xc0000102, %ecx
    rdmsr
    SHOW "kernel", %rax
    DONE
    FINISH

called:
    mov %rcx, %rbx
    sub $886b, %rbx
    mov %cs, %eax
    SHOW "cs", %rax
    mov %ss, %eax
    SHOW "ss", %rax
    SHOW "cx", %rbx
    SHOW "r11", %r11
    pushf
    pop %rax
    SHOW "fl", %rax
    mov resume_ip, %rax
    mov resume_sp, %rsp
    push $2
    popf
    jmp *%rax
compatible_called:
    SAY " CSTAR"
    mov resume_ip, %rax
    mov resume_sp, %rsp
    jmp *%rax
entered:
    mov %cs, %eax
    SHOW "cs", %rax
    mov %ss, %eax
    SHOW "ss", %rax
    mov $inner_stack_top, %eax
    sub %rsp, %rax
    SHOW "sp", %rax
    pushf
    pop %rax
    SHOW "fl", %rax
    mov resume_ip, %rax
    mov resume_sp, %rsp
    jmp *%rax

    .code32
compatible:
    mov $USER_DATA, %eax
    mov %eax, %ds
    mov $'c', %al
    out %al, $0xe9
    movl $compatible, body_ip
    mov $0x12345678, %eax
    inc %eax
    int $0x80
compatible_call:
    mov $USER_DATA, %eax
    mov %eax, %ds
    movl $compatible_call, body_ip
    syscall
    int $0x80
    .code64
