/* Checks of control registers, MSRs and branch targets that QEMU does not make: run here only, against the manual. */
#define BITS 64
#include "prelude.h"

main:
    TRY "GP wrmsr of an address"
    mov $0xc0000082, %ecx
    mov $0x12345678, %edx
    wrmsr
    DONE
    TRY "GP wrmsr EFER reserved"
    mov $0xc0000080, %ecx
    rdmsr
    or $0x2, %eax
    wrmsr
    DONE
    TRY "GP wrmsr EFER LME under paging"
    mov $0xc0000080, %ecx
    rdmsr
    and $~0x100, %eax
    wrmsr
    DONE
    TRY "GP cr0 PG without PE"
    mov %cr0, %rax
    and $~1, %eax
    mov %rax, %cr0
    DONE
    TRY "GP cr0 NW without CD"
    mov %cr0, %rax
    or $0x20000000, %eax
    mov %rax, %cr0
    DONE
    TRY "GP cr0 high"
    movabs $0x180000033, %rax
    mov %rax, %cr0
    DONE
    TRY "GP cr0 PG cleared in 64-bit mode"
    mov %cr0, %rax
    btr $31, %eax
    mov %rax, %cr0
    DONE
    TRY "GP cr3"
    movabs $0x0080000000000000, %rax
    mov %rax, %cr3
    DONE
    TRY "GP cr4 reserved"
    mov %cr4, %rax
    bts $31, %rax
    mov %rax, %cr4
    DONE
    TRY "GP cr4 PAE cleared"
    mov %cr4, %rax
    btr $5, %eax
    mov %rax, %cr4
    DONE
    TRY "GP dr7 high"
    mov $-1, %rax
    mov %rax, %dr7
    DONE
    TRY "GP dr6 high"
    mov $-1, %rax
    mov %rax, %dr6
    DONE
    TRY "GP lgdt"
    movabs $0x0000900000000000, %rax
    mov %rax, scratch + 2
    movw $0xff, scratch
    lgdt scratch
    DONE
    TRY "GP rdmsr"
    mov $0x12345678, %ecx
    rdmsr
    DONE
    TRY "GP near ret"
    movabs $0x0000900000000000, %rax
    push %rax
    movq $883f, body_ip
883:
    ret
    DONE
    TRY "GP near jump"
    movabs $0x0000900000000000, %rax
    jmp *%rax
    DONE
    TRY "GP near call"
    movabs $0x0000900000000000, %rax
    call *%rax
    DONE
    TRY "DB access with GD"
    mov $0x2400, %eax
    mov %rax, %dr7
    mov %dr0, %rbx
    DONE
    mov %dr7, %rax
    SHOW "dr7", %rax
    FINISH
