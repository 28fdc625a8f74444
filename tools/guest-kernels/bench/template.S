/*
 * The function that scattered.c plants in page after page, 64-bit code that may stand anywhere: some arithmetic with a number of its own,
 * a load, a conditional read-modify-write, two branches on data, a call into another page. RDI is a value, RSI a page of data; RAX is the
 * new value.
 */
        .section .rodata
        .globl body_template, body_number, body_call, body_end
body_template:
        imulq $0x12345678, %rdi, %rax
body_number = . - 4 - body_template
        movl %eax, %ecx
        shrl $20, %ecx
        andl $0xff8, %ecx
        movq (%rsi, %rcx), %rdx
        leaq 17(%rax, %rdx), %rax
        testb $4, %al
        jz 1f
        rorq $7, %rax
        incq (%rsi, %rcx)
1:      cmpq %rdx, %rax
        jb 2f
        xorq %rdi, %rax
        jmp 3f
2:      subq $0x1234, %rax
3:      pushq %rbx
        movq %rax, %rbx
        .byte 0xe8
        .long 0
body_call = . - 4 - body_template
        addq %rbx, %rax
        popq %rbx
        ret
body_end = . - body_template

        .globl leaf_template, leaf_end
leaf_template:
        movq %rbx, %rax
        shrq $13, %rax
        leaq 5(%rax, %rdi), %rax
        testl %eax, %eax
        js 1f
        notq %rax
1:      ret
leaf_end = . - leaf_template
        .section .note.GNU-stack, "", @progbits
