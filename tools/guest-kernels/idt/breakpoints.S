/* Breakpoints of DR0 to DR3: on instructions and data, RF, what they do under MOV SS, REP, TF and general detect. */
#define BITS 64
#include "prelude.h"

/* DR7 for one breakpoint: enabled locally, kind 0 execute, 1 write, 3 access; length field 0, 1, 3, 2 for 1, 2, 4, 8 bytes. */
#define DR7(n, kind, length) (0x400 | 1 << (2 * (n)) | (kind) << (16 + 4 * (n)) | (length) << (18 + 4 * (n)))

.macro BREAK n, address, dr7
    mov $\address, %eax
    mov %rax, %dr\n
    mov $\dr7, %eax
    mov %rax, %dr7
.endm
.macro CLEAR
    xor %eax, %eax
    mov %rax, %dr7
.endm
.macro SHOW_RF
    mov saved + 40, %rax
    shr $16, %eax
    and $1, %eax
    SHOW "rf", %rax
.endm

main:
    TRY "on an instruction"
    BREAK 0, 1f, DR7(0, 0, 0)
    movl $1f, body_ip
    nop
1:  inc %eax
    DONE
    CLEAR
    SHOW_RF
    TRY "on an instruction, passed with RF"
    BREAK 1, 1f, DR7(1, 0, 0)
    mov %rsp, %rax
    push $0x10
    push %rax
    push $0x10002
    push $8
    push $1f
    iretq
1:  nop
    DONE
    CLEAR
    TRY "on an instruction that faults"
    BREAK 0, 1f, DR7(0, 0, 0)
    movl $1f, body_ip
1:  ud2
    DONE
    CLEAR
    TRY "on data, write"
    BREAK 0, scratch, DR7(0, 1, 3)
    movl $1f, body_ip
    mov scratch, %eax
1:  movl $1, scratch
    nop
    DONE
    CLEAR
    SHOW "value", scratch
    TRY "on data, read"
    BREAK 2, scratch, DR7(2, 3, 3)
    movl $1f, body_ip
1:  mov scratch, %eax
    nop
    DONE
    CLEAR
    TRY "on one byte of several"
    BREAK 3, scratch + 3, DR7(3, 1, 0)
    movl $1f, body_ip
1:  movq $0, scratch
    nop
    DONE
    CLEAR
    TRY "on eight bytes, met by one"
    BREAK 0, scratch, DR7(0, 1, 2)
    movl $1f, body_ip
1:  movb $0, scratch + 7
    nop
    DONE
    CLEAR
    TRY "beside the data"
    BREAK 0, scratch, DR7(0, 1, 3)
    movl $0, scratch + 4
    movl $0, scratch - 4
    DONE
    CLEAR
    TRY "disabled"
    BREAK 0, scratch, (0x400 | 1 << 16 | 3 << 18)
    movl $0, scratch
    DONE
    CLEAR
    TRY "a push in ring 3"
    BREAK 0, (user_stack_top - 8), DR7(0, 1, 2)
    USER 2
    push $0
    nop
    BACK
    CLEAR
    TRY "two at once"
    mov $scratch, %eax
    mov %rax, %dr1
    BREAK 0, scratch + 4, (DR7(0, 1, 3) | DR7(1, 3, 3))
    movl $1f, body_ip
1:  movq $0, scratch
    nop
    DONE
    CLEAR
    TRY "with a single step"
    BREAK 0, scratch, DR7(0, 1, 3)
    movl $1f, body_ip
    push $0x102
    popf
1:  movl $0, scratch
    nop
    DONE
    CLEAR
    TRY "a store that faults"
    BREAK 0, 0x7ffffff0, DR7(0, 1, 3)
    movl $1f, body_ip
1:  movl $0, 0x7ffffff0
    nop
    DONE
    CLEAR
    TRY "in a repeated store"
    BREAK 0, scratch + 8, DR7(0, 1, 3)
    movl $1f, body_ip
    mov $scratch, %edi
    mov $5, %ecx
    cld
1:  rep stosl
    nop
    DONE
    CLEAR
    SHOW "cx", saved + 8
    SHOW_RF
    TRY "in the last of a repeated store"
    BREAK 0, scratch + 8, DR7(0, 1, 3)
    movl $1f, body_ip
    mov $scratch, %edi
    mov $3, %ecx
1:  rep stosl
    nop
    DONE
    CLEAR
    SHOW "cx", saved + 8
    SHOW_RF
    TRY "held back by mov ss"
    movw $0x10, scratch
    BREAK 0, scratch, DR7(0, 3, 1)
    movl $1f, body_ip
1:  mov scratch, %ss
    nop
    nop
    DONE
    CLEAR
    TRY "on a port"
    mov %cr4, %rax
    or $8, %eax
    mov %rax, %cr4
    BREAK 0, 0x80, DR7(0, 2, 0)
    movl $1f, body_ip
1:  out %al, $0x80
    nop
    DONE
    CLEAR
    TRY "beside the port"
    BREAK 0, 0x81, DR7(0, 2, 0)
    out %al, $0x80
    DONE
    CLEAR
    mov %cr4, %rax
    and $~8, %eax
    mov %rax, %cr4
    TRY "general detect"
    mov $0x2400, %eax
    mov %rax, %dr7
    movl $1f, body_ip
1:  mov %dr0, %rbx
    DONE
    mov %dr7, %rax
    SHOW "dr7", %rax
    CLEAR
    TRY "in ring 3"
    BREAK 0, scratch, DR7(0, 1, 3)
    USER 2
    movl $0, scratch
    nop
    BACK
    CLEAR
    TRY "on an instruction in ring 3"
    BREAK 0, 1f, DR7(0, 0, 0)
    USER 2
    nop
1:  nop
    BACK
    CLEAR
    FINISH
