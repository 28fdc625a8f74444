/*
 * What every test kernel starts with: the PVH entry, descriptor tables, page tables, printing, and one handler for all vectors.
 *
 * A test is  TRY "name"  body  DONE : one line of the transcript. The handler prints the exception it was entered with and goes on
 * behind DONE; a body that runs through prints "ok". SHOW adds a value to the line. BITS is 64 or 32.
 */
#if BITS == 64
#define AX %rax
#define BX %rbx
#define CX %rcx
#define DX %rdx
#define SI %rsi
#define DI %rdi
#define BP %rbp
#define SP %rsp
#define W 8
#define WORD .quad
#define IRET iretq
#define KERNEL_CODE 0x08
#define SAVED saved
#else
#define AX %eax
#define BX %ebx
#define CX %ecx
#define DX %edx
#define SI %esi
#define DI %edi
#define BP %ebp
#define SP %esp
#define W 4
#define WORD .long
#define IRET iret
#define KERNEL_CODE 0x18
/* DS is null after ring 3 */
#define SAVED %ss:saved
#endif

#define KERNEL_DATA 0x10
#define KERNEL_CODE32 0x18
#define USER_CODE32 0x23
#define USER_DATA 0x2b
#define USER_CODE64 0x33
#define TSS_SELECTOR 0x38
#define LDT_SELECTOR 0x48
/* Descriptors that tests fill in, eight bytes each. */
#define SLOT0 0x58
#define SLOT1 0x60
#define SLOT2 0x68
#define SLOT3 0x70
#define SLOT4 0x78
#define SLOT5 0x80

/* A window of 4 KiB pages whose entries the tests write. */
#define WINDOW 0x40000000

#define PTE_P 1
#define PTE_W 2
#define PTE_U 4
#define PTE_A 0x20
#define PTE_D 0x40

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad start

/* ---- the transcript ------------------------------------------------------------------------------------------------------ */

.macro STRING text
    .pushsection .rodata
99: .asciz "\text"
    .popsection
.endm

/* Prints text and keeps every register. */
.macro SAY text
    STRING "\text"
    push $99b
    call say
.endm
/* Prints " label=value" and keeps every register. */
.macro SHOW label, value
    push \value
    SAY " \label="
    call say_word
.endm

/* Starts a line, and notes where to go on after an exception. */
.macro TRY name
    SAY "\n\name:"
    movl $880f, resume_ip
    mov SP, resume_sp
    movl $881f, body_ip
    movl $0, returns
    push $2
    popf
881:
.endm
.macro DONE
    SAY " ok"
880:
    mov resume_sp, SP
.endm
/* The handler returns to the interrupted code for the next count exceptions. */
.macro RETURNS count
    movl $\count, returns
.endm
.macro FLAGS value
    push $\value
    popf
.endm

/* Writes a descriptor of two words to a slot of the GDT. */
.macro DESCRIPTOR slot, low, high
    movl $\low, gdt + (\slot & ~7)
    movl $\high, gdt + (\slot & ~7) + 4
.endm

/* Goes on at CPL 3 with the given flags; BACK ends the line from there. */
.macro USER flags=2
    movl $(882f), body_ip
    push $USER_DATA
    push $user_stack_top
    push $\flags
#if BITS == 64
    push $USER_CODE64
    push $882f
    IRET
#else
    push $USER_CODE32
    push $883f
    IRET
883:
    push $USER_DATA
    pop %ds
#endif
882:
.endm
.macro BACK
    int $0x80
880:
.endm

/* Ends the kernel with an exit status. */
.macro FINISH
    SAY "\nend\n"
    mov $0x10, %al
    out %al, $0xf4
1:  hlt
    jmp 1b
.endm

/* ---- start --------------------------------------------------------------------------------------------------------------- */

    .section .text.start, "ax"
    .code32
    .globl start
start:
    cli
    cld
    mov $stack_top, %esp
    lgdt gdt_pointer
    ljmp $KERNEL_CODE32, $1f
1:  mov $KERNEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    xor %eax, %eax
    lldt %ax
    /* no interrupt of the PC's may come */
    mov $0xff, %al
    out %al, $0x21
    out %al, $0xa1
    /* gates: handlers at vectors + 16 * n, interrupt gates; DPL 3 for 3, 4 and from 0x80 on */
    xor %ecx, %ecx
    mov $vectors, %edx
    mov $idt, %edi
gate:
    mov %dx, (%edi)
    movw $KERNEL_CODE, 2(%edi)
    mov %edx, 4(%edi)
    movw $0x8e00, 4(%edi)
    cmp $3, %ecx
    je 2f
    cmp $4, %ecx
    je 2f
    cmp $0x80, %ecx
    jb 3f
2:  movw $0xee00, 4(%edi)
3:  add $16, %edx
    add $(W * 2), %edi
    inc %ecx
    cmp $256, %ecx
    jb gate
    lidt idt_pointer
    /* the TSS */
    mov $tss, %eax
    mov %ax, gdt + TSS_SELECTOR + 2
    shr $16, %eax
    mov %al, gdt + TSS_SELECTOR + 4
    movw $0x68, tss + 0x66
#if BITS == 64
    movl $inner_stack_top, tss + 4
    movl $ist1_top, tss + 0x24
    movl $ist2_top, tss + 0x2c
    /* the first GiB by 2 MiB pages, then the window */
    movl $(pdpt + 7), pml4
    movl $(directory + 7), pdpt
    movl $(window_directory + 7), pdpt + 8
    movl $(window_table + 7), window_directory
    mov $0x87, %eax
    mov $directory, %edi
4:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    cmp $0x40000000, %eax
    jb 4b
    mov $0x620, %eax
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    mov $0x901, %eax
    xor %edx, %edx
    wrmsr
    mov $0x80010033, %eax
    mov %eax, %cr0
    ljmp $KERNEL_CODE, $5f
    .code64
5:
#else
    movl $inner_stack_top, tss + 4
    movl $KERNEL_DATA, tss + 8
    mov $0x600, %eax
    mov %eax, %cr4
    mov $0x33, %eax
    mov %eax, %cr0
#endif
    mov $TSS_SELECTOR, %eax
    ltr %ax
    fninit
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    jmp main

/* ---- printing: no register changes, the flags do --------------------------------------------------------------------------- */

/* The string whose address was pushed before the call. */
say:
    push AX
    push SI
    mov (3 * W)(SP), SI
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $0xe9
    jmp 1b
2:  pop SI
    pop AX
    ret $W
/* The word that was pushed before the call, in hexadecimal without leading zeros. */
say_word:
    push AX
    push CX
    push DX
    mov (4 * W)(SP), DX
    mov $(W * 2), %ecx
1:  cmp $1, %ecx
    je 2f
    mov DX, AX
    shr $(W * 8 - 4), AX
    jnz 2f
    shl $4, DX
    dec %ecx
    jmp 1b
2:  mov DX, AX
    shr $(W * 8 - 4), AX
    add $'0', %al
    cmp $'9', %al
    jbe 3f
    add $('a' - '9' - 1), %al
3:  out %al, $0xe9
    shl $4, DX
    dec %ecx
    jnz 2b
    pop DX
    pop CX
    pop AX
    ret $W

/* ---- exceptions ------------------------------------------------------------------------------------------------------------ */

    .balign 16
vectors:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17)
    .else
    push $0
    .endif
    push $vector
    jmp handler
    .set vector, vector + 1
    .endr

handler:
    mov AX, SAVED
    mov CX, SAVED + W
    mov DX, SAVED + 2 * W
    mov SI, SAVED + 3 * W
    mov DI, SAVED + 4 * W
    cld
    mov $KERNEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov SP, SI
    SHOW "#", (SI)
    SHOW "err", W(SI)
    mov (2 * W)(SI), AX
    sub body_ip, AX
    SHOW "ip", AX
    SHOW "cs", (3 * W)(SI)
    /* RF is the business of the debug kernel: QEMU never sets it */
    mov (4 * W)(SI), AX
    mov AX, saved + 5 * W
    and $~0x10000, AX
    SHOW "fl", AX
#if BITS == 64
    SHOW "ss", (6 * W)(SI)
    mov resume_sp, AX
    testb $3, (3 * W)(SI)
    jz 1f
    mov $user_stack_top, %eax
1:  sub (5 * W)(SI), AX
    SHOW "sp-", AX
#else
    testb $3, (3 * W)(SI)
    jz 1f
    SHOW "ss", (6 * W)(SI)
    mov $user_stack_top, %eax
    sub (5 * W)(SI), AX
    jmp 2f
1:  mov resume_sp, AX
    sub SI, AX
    sub $(5 * W), AX
2:  SHOW "sp-", AX
#endif
    cmpb $14, (SI)
    jne 3f
    mov %cr2, AX
    SHOW "cr2", AX
3:  cmpb $1, (SI)
    jne 4f
    mov %dr6, AX
    SHOW "dr6", AX
    mov $0xffff0ff0, %eax
    mov AX, %dr6
4:  cmpl $0, returns
    je 5f
    decl returns
    mov saved, AX
    mov saved + W, CX
    mov saved + 2 * W, DX
    mov saved + 3 * W, SI
    mov saved + 4 * W, DI
    add $(2 * W), SP
    IRET
5:  mov $KERNEL_DATA, %eax
    mov %eax, %ss
    mov resume_sp, SP
    push $2
    popf
    mov resume_ip, AX
    jmp *AX

/* ---- data ------------------------------------------------------------------------------------------------------------------ */

    .data
    .balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cf9b000000ffff
    .quad 0x00cffb000000ffff
    .quad 0x00cff3000000ffff
    .quad 0x00affb000000ffff
    .quad 0x0000890000000067, 0
    .quad 0, 0
    .quad 0, 0, 0, 0, 0, 0
gdt_end:
    .balign 4
    .word 0
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .balign 4
    .word 0
idt_pointer:
    .word 256 * 2 * W - 1
    .quad idt

    .bss
    .balign 4096
pml4: .skip 4096
pdpt: .skip 4096
directory: .skip 4096
window_directory: .skip 4096
window_table: .skip 4096
/* Pages to put behind the window. */
arena: .skip 4 * 4096
idt: .skip 4096
    .skip 4096
stack_top:
    .skip 4096
inner_stack_top:
    .skip 4096
user_stack_top:
    .skip 2048
ist1_top:
    .skip 2048
ist2_top:
tss: .skip 0x188
resume_ip: .skip 8
resume_sp: .skip 8
body_ip: .skip 8
returns: .skip 8
/* AX CX DX SI DI and the flags at the exception. */
saved: .skip 48
scratch: .skip 64

    .text
#if BITS == 64
    .code64
#else
    .code32
#endif
