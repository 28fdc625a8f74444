/* Single steps, interrupt shadow, RF, breakpoints. */
#define BITS 64
#include "prelude.h"

.macro SHOW_RF
    mov saved + 40, %rax
    shr $16, %eax
    and $1, %eax
    SHOW "rf", %rax
.endm
.macro STEP flags=0x102
    push $\flags
    popf
.endm

main:
    TRY "one step"
    STEP
    nop
    DONE
    TRY "steps"
    RETURNS 3
    STEP
    nop
    inc %eax
    nop
    nop
    DONE
    TRY "step over a jump"
    STEP
    jmp 1f
    nop
1:  nop
    DONE
    TRY "step over a call and its return"
    RETURNS 2
    STEP
    call 1f
    jmp 2f
1:  ret
2:  nop
    DONE
    TRY "step over a store"
    STEP
    movl $1, scratch
    DONE
    SHOW "value", scratch
    TRY "step over pushf"
    STEP
    pushf
    DONE
    mov -8(%rsp), %rax
    SHOW "pushed", %rax
    TRY "step over popf that clears TF"
    STEP
    push $2
    popf
    nop
    DONE
    TRY "the second of those steps"
    RETURNS 1
    STEP
    push $2
    popf
    nop
    nop
    DONE
    TRY "step over a fault"
    STEP
    ud2
    DONE
    TRY "step over a division that faults"
    xor %ecx, %ecx
    STEP
    div %ecx
    DONE
    TRY "step over rep movsb"
    RETURNS 3
    mov $scratch, %esi
    mov $scratch + 32, %edi
    mov $4, %ecx
    STEP
    rep movsb
    nop
    DONE
    TRY "step over rep movsb of nothing"
    xor %ecx, %ecx
    STEP
    rep movsb
    DONE
    TRY "step over int n"
    RETURNS 1
    STEP
    int $0x31
    nop
    nop
    DONE
    TRY "step after int n has returned"
    RETURNS 2
    STEP
    int $0x31
    nop
    nop
    DONE
    TRY "step over int3"
    STEP
    int3
    DONE
    TRY "step over iret that sets TF"
    push $0x10
    lea 8(%rsp), %rax
    push %rax
    push $0x102
    push $8
    push $1f
    iretq
1:  nop
    nop
    DONE
    TRY "step over iret that clears TF"
    mov %rsp, %rax
    push $0x10
    push %rax
    push $0x2
    push $8
    push $1f
    STEP
    iretq
1:  nop
    nop
    DONE
    TRY "step into ring 3"
    USER 0x102
    nop
    nop
    BACK
    TRY "step over mov ss"
    mov %ss, %eax
    STEP
    mov %eax, %ss
    nop
    nop
    DONE
    TRY "step over pop ss and mov sp"
    mov %rsp, %rbx
    mov %ss, %eax
    STEP
    mov %eax, %ss
    mov %rbx, %rsp
    nop
    DONE
    TRY "step over two loads of ss"
    mov %ss, %eax
    STEP
    mov %eax, %ss
    mov %eax, %ss
    nop
    nop
    DONE
    TRY "step over mov ss and int n"
    mov %ss, %eax
    STEP
    mov %eax, %ss
    int $0x31
    nop
    DONE
    TRY "step over mov ss and a fault"
    mov %ss, %eax
    STEP
    mov %eax, %ss
    ud2
    DONE
    TRY "step over mov ds"
    mov %ds, %eax
    STEP
    mov %eax, %ds
    nop
    DONE
    TRY "step over lss"
    mov %rsp, %rax
    mov %eax, scratch
    movw $0x10, scratch + 4
    STEP
    lss scratch, %esp
    nop
    nop
    DONE
    TRY "step over sti"
    STEP
    sti
    nop
    nop
    DONE
    TRY "step over cli"
    STEP 0x302
    cli
    nop
    DONE
    TRY "step over icebp"
    STEP
    .byte 0xf1
    nop
    DONE
    TRY "step over cpuid"
    xor %eax, %eax
    STEP
    cpuid
    nop
    DONE
    TRY "step over wrmsr"
    mov $0xc0000100, %ecx
    xor %eax, %eax
    xor %edx, %edx
    STEP
    wrmsr
    nop
    DONE
    TRY "step over mov cr3"
    mov %cr3, %rax
    STEP
    mov %rax, %cr3
    nop
    DONE
    TRY "step over out"
    STEP
    out %al, $0x80
    nop
    DONE
    TRY "step over a page fault on the way"
    RETURNS 1
    STEP
    mov 0x7ffffff0, %eax
    DONE
    mov $0xc0000081, %ecx
    xor %eax, %eax
    mov $0x00200008, %edx
    wrmsr
    mov $0xc0000082, %ecx
    mov $stepped, %eax
    xor %edx, %edx
    wrmsr
    mov $0xc0000084, %ecx
    mov $0x100, %eax
    wrmsr
    TRY "step over syscall that masks TF"
    STEP
    syscall
    nop
    DONE
    mov $0xc0000084, %ecx
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    TRY "step over syscall that keeps TF"
    STEP
    syscall
    nop
    DONE
    TRY "step over sysretq"
    mov $1f, %ecx
    mov $0x102, %r11d
    mov $user_stack_top, %esp
    movl $1f, body_ip
    sysretq
1:  nop
    nop
    BACK

    TRY "RF after a fault"
    ud2
    DONE
    SHOW_RF
    TRY "RF after a page fault"
    mov 0x7ffffff0, %eax
    DONE
    SHOW_RF
    TRY "RF after int n"
    int $0x31
    DONE
    SHOW_RF
    TRY "RF after int3"
    int3
    DONE
    SHOW_RF
    TRY "RF after a step"
    STEP
    nop
    DONE
    SHOW_RF
    TRY "RF set by iret lasts for one instruction"
    mov %rsp, %rax
    push $0x10
    push %rax
    push $0x10002
    push $8
    push $1f
    iretq
1:  int $0x31
    DONE
    SHOW_RF
    TRY "RF in pushf"
    mov %rsp, %rax
    push $0x10
    push %rax
    push $0x10002
    push $8
    push $1f
    iretq
1:  pushf
    pop %rax
    SHOW "fl", %rax
    DONE
    TRY "popf clears RF"
    push $0x10002
    popf
    int $0x31
    DONE
    SHOW_RF

    TRY "dr6 and dr7 as they read"
    mov $-1, %eax
    mov %rax, %dr6
    mov %dr6, %rbx
    SHOW "dr6", %rbx
    xor %eax, %eax
    mov %rax, %dr7
    mov %dr7, %rbx
    SHOW "dr7", %rbx
    mov $0xffff0ff0, %eax
    mov %rax, %dr6
    movabs $0x123456789abcdef0, %rax
    mov %rax, %dr3
    mov %dr3, %rbx
    SHOW "dr3", %rbx
    DONE
    FINISH
stepped:
    pushf
    SHOW "entered", (%rsp)
    mov resume_ip, %rax
    mov resume_sp, %rsp
    push $2
    popf
    jmp *%rax
