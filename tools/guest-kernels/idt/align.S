/* Alignment checks, which QEMU does not make: run here only, against the manual (SDM vol. 3A 6.15, interrupt 17). */
#define BITS 64
#include "prelude.h"

#define AC 0x40002

.macro ALIGNED on
    mov %cr0, %rax
    .if \on
    or $0x40000, %eax
    .else
    and $~0x40000, %eax
    .endif
    mov %rax, %cr0
.endm

main:
    ALIGNED 1
    TRY "a misaligned load in ring 0"
    FLAGS AC
    mov scratch + 1, %eax
    DONE
    TRY "a misaligned load"
    USER AC
    mov scratch + 1, %eax
    BACK
    TRY "a misaligned store"
    USER AC
    movw $0, scratch + 1
    BACK
    TRY "aligned accesses"
    USER AC
    mov scratch + 8, %rax
    mov scratch + 4, %eax
    mov scratch + 2, %ax
    mov scratch + 1, %al
    BACK
    TRY "eight bytes at four"
    USER AC
    mov scratch + 4, %rax
    BACK
    TRY "without AC"
    USER 2
    mov scratch + 1, %eax
    BACK
    TRY "a push"
    USER AC
    sub $1, %rsp
    push %rax
    BACK
    TRY "popf that sets AC"
    USER 2
    push $AC
    popf
    mov scratch + 1, %eax
    BACK
    TRY "a misaligned page fault"
    USER AC
    mov 0x7ffffff1, %eax
    BACK
    TRY "a misaligned address that is not canonical"
    USER AC
    movabs $0x800000000001, %rbx
    mov (%rbx), %eax
    BACK
    TRY "movaps"
    USER AC
    movaps scratch + 4, %xmm0
    BACK
    TRY "rep movsl"
    movl $0, saved
    USER AC
    mov $scratch, %esi
    mov $scratch + 17, %edi
    mov $2, %ecx
    rep movsl
    BACK
    TRY "int 0x80 whose frame is pushed in ring 0"
    USER AC
    int $0x81
880:
    TRY "a far pointer"
    USER AC
    lfs scratch + 2, %eax
    BACK
    ALIGNED 0
    TRY "without CR0.AM"
    USER AC
    mov scratch + 1, %eax
    BACK
    FINISH
