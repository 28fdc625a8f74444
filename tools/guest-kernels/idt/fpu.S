/* The x87 and SSE state images, and their exceptions: #MF, #XM, #NM. */
#define BITS 64
#include "prelude.h"

.macro DUMP_WORDS from, count
    mov $\from, %ebx
    mov $\count, %ecx
1:  mov (%rbx), %eax
    push %rax
    SAY " "
    call say_word
    add $4, %rbx
    dec %ecx
    jnz 1b
.endm
.macro CLEAR
    mov $arena, %edi
    mov $128, %ecx
    mov $0xeeeeeeee, %eax
    rep stosl
.endm
.macro CONTROL_WORD value
    movw $\value, scratch
    fldcw scratch
.endm
.macro STATUS
    fnstsw %ax
    movzwl %ax, %eax
    SHOW "sw", %rax
.endm

main:
    TRY "fninit and fnsave"
    CLEAR
    fninit
    fnsave arena
    DUMP_WORDS arena, 28
    DONE
    TRY "fnstenv with values"
    CLEAR
    fninit
    fld1
    fldpi
    fldz
    fnstenv arena
    movl $0, arena + 12
    movl $0, arena + 16
    movl $0, arena + 20
    movl $0, arena + 24
    DUMP_WORDS arena, 8
    DONE
    TRY "fnsave with values"
    CLEAR
    fninit
    fld1
    fldpi
    fldz
    fchs
    fnsave arena
    movl $0, arena + 12
    movl $0, arena + 16
    movl $0, arena + 20
    movl $0, arena + 24
    DUMP_WORDS arena, 28
    STATUS
    DONE
    TRY "frstor"
    frstor arena
    STATUS
    fstpt scratch + 16
    fstpt scratch + 32
    mov scratch + 16, %rax
    SHOW "st0", %rax
    mov scratch + 32, %rax
    SHOW "st1", %rax
    movzwl scratch + 40, %eax
    SHOW "st1h", %rax
    DONE
    TRY "fxsave"
    CLEAR
    fninit
    fld1
    fldl2e
    mov $0x1f80, %eax
    mov %eax, scratch
    ldmxcsr scratch
    pcmpeqd %xmm0, %xmm0
    pxor %xmm15, %xmm15
    pcmpeqd %xmm7, %xmm7
    psrlq $3, %xmm7
    movups %xmm0, scratch + 16
    fxsave arena
    movq $0, arena + 6
    movw $0, arena + 14
    movq $0, arena + 16 - 8
    movl $0, arena + 16
    movl $0, arena + 20
    DUMP_WORDS arena, 7
    DUMP_WORDS arena + 32, 12
    DUMP_WORDS arena + 160, 4
    DUMP_WORDS arena+272, 4
    DUMP_WORDS arena + 400, 4
    DUMP_WORDS arena + 464, 2
    DONE
    TRY "fxrstor"
    fninit
    movw $0x5a, arena + 4
    movw $0x1000, arena + 2
    movl $0x3f80, arena + 24
    fxrstor arena
    STATUS
    fnstenv scratch
    movzwl scratch + 8, %eax
    SHOW "tags", %rax
    stmxcsr scratch
    mov scratch, %eax
    SHOW "mxcsr", %rax
    DONE
    TRY "fxrstor with reserved MXCSR bits"
    movl $0x10000, arena + 24
    fxrstor arena
    DONE
    fninit
    TRY "ldmxcsr with reserved bits"
    movl $0x10000, scratch
    ldmxcsr scratch
    DONE
    movl $0x1f80, scratch
    ldmxcsr scratch

    TRY "MF divide by zero at the next instruction"
    fninit
    CONTROL_WORD 0x37b
    fld1
    fldz
    fdivrp
    nop
    STATUS
    fld1
    DONE
    STATUS
    fnclex
    TRY "MF at fwait"
    fninit
    CONTROL_WORD 0x37b
    fldz
    fld1
    fdivp
    fwait
    DONE
    fnclex
    TRY "no MF at fninit, fnclex, fnstsw, fnstcw, fnstenv, fnsave"
    fninit
    CONTROL_WORD 0x37e
    fld1
    fchs
    fsqrt
    fnstsw %ax
    fnstcw scratch
    fnstenv arena
    fnclex
    DONE
    TRY "MF invalid"
    fninit
    CONTROL_WORD 0x37e
    fld1
    fchs
    fsqrt
    fwait
    DONE
    STATUS
    fnclex
    TRY "MF stack underflow"
    fninit
    CONTROL_WORD 0x37e
    faddp
    fwait
    DONE
    STATUS
    fnclex
    TRY "MF stack overflow"
    fninit
    CONTROL_WORD 0x37e
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fwait
    DONE
    STATUS
    fnclex
    TRY "MF by unmasking with fldcw"
    fninit
    fld1
    fldz
    fdivrp
    CONTROL_WORD 0x37b
    STATUS
    fld1
    DONE
    fnclex
    TRY "MF at an MMX instruction"
    fninit
    CONTROL_WORD 0x37b
    fld1
    fldz
    fdivrp
    paddd %mm0, %mm0
    DONE
    fnclex
    TRY "no MF at an SSE instruction"
    fninit
    CONTROL_WORD 0x37b
    fld1
    fldz
    fdivrp
    paddd %xmm0, %xmm0
    fnclex
    DONE
    fninit

    TRY "XM divide by zero"
    movl $0x1d80, scratch
    ldmxcsr scratch
    mov $0x3f800000, %eax
    movd %eax, %xmm0
    pxor %xmm1, %xmm1
    divss %xmm1, %xmm0
    DONE
    movd %xmm0, %eax
    SHOW "xmm0", %rax
    stmxcsr scratch
    mov scratch, %eax
    SHOW "mxcsr", %rax
    TRY "XM invalid compare"
    movl $0x1f00, scratch
    ldmxcsr scratch
    mov $0x7fc00000, %eax
    movd %eax, %xmm0
    FLAGS 0xd7
    comiss %xmm0, %xmm0
    DONE
    stmxcsr scratch
    mov scratch, %eax
    SHOW "mxcsr", %rax
    TRY "no XM for ucomiss of a quiet NaN"
    ucomiss %xmm0, %xmm0
    pushf
    pop %rax
    SHOW "fl", %rax
    DONE
    TRY "XM inexact conversion"
    movl $0x0f80, scratch
    ldmxcsr scratch
    mov $0x3fc00000, %eax
    movd %eax, %xmm0
    mov $77, %eax
    cvtss2si %xmm0, %eax
    DONE
    stmxcsr scratch
    mov scratch, %eax
    SHOW "mxcsr", %rax
    TRY "XM overflow keeps the destination"
    movl $0x1b80, scratch
    ldmxcsr scratch
    mov $0x7f7fffff, %eax
    movd %eax, %xmm0
    mulss %xmm0, %xmm0
    DONE
    movd %xmm0, %eax
    SHOW "xmm0", %rax
    stmxcsr scratch
    mov scratch, %eax
    SHOW "mxcsr", %rax
    TRY "XM of an instruction that faults on memory first"
    divss 0x7ffffff0, %xmm0
    DONE
    TRY "UD without OSXMMEXCPT"
    mov %cr4, %rax
    and $~0x400, %eax
    mov %rax, %cr4
    movl $0x1d80, scratch
    ldmxcsr scratch
    pxor %xmm1, %xmm1
    mov $0x3f800000, %eax
    movd %eax, %xmm0
    divss %xmm1, %xmm0
    DONE
    mov %cr4, %rax
    or $0x400, %eax
    mov %rax, %cr4
    movl $0x1f80, scratch
    ldmxcsr scratch
    TRY "MMX makes the x87 stack full"
    fninit
    fld1
    mov $0x12345678, %eax
    movd %eax, %mm3
    fnstenv arena
    mov arena + 8, %eax
    and $0xffff, %eax
    SHOW "tags", %rax
    STATUS
    fnsave arena
    mov arena + 28 + 30, %rax
    SHOW "st3", %rax
    movzwl arena + 28 + 38, %eax
    SHOW "st3h", %rax
    DONE
    TRY "emms"
    movd %eax, %mm3
    emms
    fnstenv arena
    mov arena + 8, %eax
    and $0xffff, %eax
    SHOW "tags", %rax
    DONE
    FINISH
