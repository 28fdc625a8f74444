/* Self-modifying code: the next instruction, other pages, aliases, instructions across pages, code that a page-table entry moves. */
#define BITS 64
#include "prelude.h"

#define PAGE(n) (WINDOW+(n)*4096)
.macro MAP index, frame, bits=3
    movl $(arena + (\frame) * 4096 + (\bits)), window_table + (\index) * 8
    invlpg PAGE(\index)
.endm
/* mov $value, %eax ; ret */
.macro WRITE_FUNCTION at, value
    movb $0xb8, \at
    movl $\value, \at + 1
    movb $0xc3, \at + 5
.endm
.macro CALL_AT address
    mov $\address, %ebx
    call *%rbx
    SHOW "returned", %rax
.endm

main:
    TRY "the next instruction's immediate"
    xor %eax, %eax
    movb $2, 1f + 1
1:  mov $1, %eax
    SHOW "value", %rax
    DONE
    TRY "the next instruction's opcode"
    mov $5, %eax
    movb $0xc8, 1f + 1
1:  inc %eax
    SHOW "value", %rax
    DONE
    TRY "the next instruction, in every round of a loop"
    mov $3, %ecx
    xor %edx, %edx
2:  mov %cl, 1f + 1
1:  mov $9, %eax
    add %eax, %edx
    dec %ecx
    jnz 2b
    SHOW "sum", %rdx
    DONE
    TRY "an instruction that was just executed"
    mov $2, %ecx
2:
1:  mov $9, %eax
    movb $4, 1b + 1
    dec %ecx
    jnz 2b
    SHOW "value", %rax
    DONE
    TRY "an instruction becomes longer"
    /* two nops become inc %eax */
    mov $1, %eax
    movw $0xc0ff, 1f
1:  nop
    nop
    SHOW "value", %rax
    DONE
    TRY "the rest of a run by rep stosb"
    mov $1f, %edi
    mov $6, %ecx
    mov $0x90, %eax
    rep stosb
1:  ud2
    ud2
    ud2
    DONE
    TRY "rep movsb over itself"
    mov $3f, %esi
    mov $1f, %edi
    mov $4, %ecx
1:  rep movsb
    nop
    nop
    jmp 2f
3:  nop
    nop
    nop
    nop
2:  SHOW "cx", %rcx
    DONE
    TRY "a byte inside an instruction by a wide store"
    mov 1f - 1, %rax
    and $~0xff0000, %rax
    or $0x770000, %rax
    mov %rax, 1f - 1
    jmp 1f
    nop
1:  mov $0x11223344, %eax
    SHOW "value", %rax
    DONE
    TRY "push over the next instruction"
    mov %rsp, %rbp
    mov $1f + 8, %esp
    mov $0x9090909090909090, %rax
    push %rax
1:  ud2
    ud2
    ud2
    ud2
    mov %rbp, %rsp
    DONE
    TRY "xchg with code"
    mov $0x90, %eax
    xchg %al, 1f
1:  .byte 0xf4
    SHOW "old", %rax
    DONE

    TRY "a function on another page"
    MAP 0, 0
    WRITE_FUNCTION PAGE(0), 0x111
    CALL_AT PAGE(0)
    movl $0x222, PAGE(0) + 1
    CALL_AT PAGE(0)
    DONE
    TRY "the same through another address"
    MAP 1, 0
    movl $0x333, PAGE(1) + 1
    CALL_AT PAGE(0)
    CALL_AT PAGE(1)
    DONE
    TRY "the same by its physical address"
    movl $0x444, arena + 1
    CALL_AT PAGE(0)
    CALL_AT PAGE(1)
    DONE
    TRY "another page behind the address"
    MAP 2, 1
    WRITE_FUNCTION PAGE(2), 0x555
    CALL_AT PAGE(0)
    MAP 0, 1
    CALL_AT PAGE(0)
    MAP 0, 0
    CALL_AT PAGE(0)
    DONE
    TRY "across two pages"
    MAP 0, 0
    MAP 1, 1
    WRITE_FUNCTION (PAGE(1)-3), 0x12345678
    CALL_AT PAGE(1)-3
    movb $0x99, PAGE(1)
    CALL_AT PAGE(1)-3
    movb $0x88, PAGE(1) - 1
    CALL_AT PAGE(1)-3
    movl $0x0badcafe, PAGE(1) - 2
    CALL_AT PAGE(1)-3
    DONE
    TRY "another second page"
    MAP 2, 2
    movl $0x00c38899, PAGE(2)
    MAP 1, 2
    CALL_AT PAGE(1)-3
    MAP 1, 1
    CALL_AT PAGE(1)-3
    DONE
    TRY "the second page is gone"
    movl $0, window_table + 8
    invlpg PAGE(1)
    mov $PAGE(1) - 3, %ebx
    call *%rbx
    DONE
    TRY "code that unmaps its own next page"
    MAP 0, 0
    MAP 1, 1
    /* movl $0, window_table + 8 ; invlpg PAGE(1) ; nop... */
    mov $4f, %esi
    mov $PAGE(1) - (5f - 4f), %edi
    mov $5f - 4f, %ecx
    rep movsb
    movb $0xc3, PAGE(1)
    mov $PAGE(1) - (5f - 4f), %ebx
    call *%rbx
    DONE
    TRY "code that was data"
    MAP 3, 3
    movq $0x1234, PAGE(3)
    mov PAGE(3), %rax
    WRITE_FUNCTION PAGE(3), 0x666
    CALL_AT PAGE(3)
    mov PAGE(3), %rax
    SHOW "bytes", %rax
    DONE
    TRY "many writes between calls"
    mov $500, %ecx
6:  mov %ecx, PAGE(3) + 1
    mov $PAGE(3), %ebx
    call *%rbx
    add %eax, %edx
    cmp %eax, %ecx
    jne 7f
    dec %ecx
    jnz 6b
7:  SHOW "left", %rcx
    DONE
    TRY "code in a page table"
    /* an entry that is absent and also an instruction: inc %eax ; ret */
    movl $0x00c3c0fe, window_table + 100 * 8
    mov $1, %eax
    mov $window_table + 100 * 8, %ebx
    call *%rbx
    movb $0xc8, window_table + 100 * 8 + 1
    call *%rbx
    call *%rbx
    SHOW "value", %rax
    DONE
    TRY "an instruction decoded in two modes"
    mov $8f, %ebx
    mov $1, %eax
    call *%rbx
    SHOW "long", %rax
    mov $1, %eax
    push $KERNEL_CODE32
    push $9f
    lretq
    .code32
9:  call 8f
    ljmp $KERNEL_CODE, $9f
    .code64
9:  SHOW "compatible", %rax
    DONE
    FINISH
4:  movl $0, window_table + 8
    invlpg PAGE(1)
5:
    /* 64-bit: rex inc-free nop ; 32-bit: inc %eax */
8:  .byte 0x40, 0x90, 0xc3
