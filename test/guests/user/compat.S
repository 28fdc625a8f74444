/*
 * A static 32-bit program that is PID 1 under an amd64 kernel: it writes a line by the vDSO's entry (AT_SYSINFO), one by INT 0x80, one by
 * SYSENTER where CPUID has SEP, and powers off. Built with `gcc -m32 -nostdlib -static`.
 */
#define NR_write 4
#define NR_reboot 88

.text
.globl _start
_start:
    /* over argc, argv and envp to the auxiliary vector */
    mov (%esp), %ecx
    lea 8(%esp,%ecx,4), %esi
1:  lodsl
    test %eax, %eax
    jnz 1b
2:  lodsl
    mov %eax, %ebx
    lodsl
    test %ebx, %ebx
    jz 3f
    cmp $32, %ebx               /* AT_SYSINFO */
    jne 2b
    mov %eax, entry
3:  cmpl $0, entry
    je 4f
    mov $by_vdso, %ecx
    mov $by_vdso_end - by_vdso, %edx
    call prepare
    call *entry
4:  mov $by_int, %ecx
    mov $by_int_end - by_int, %edx
    call prepare
    int $0x80
    mov $1, %eax
    cpuid
    test $1 << 11, %edx         /* SEP */
    jz 6f
    mov $by_sysenter, %ecx
    mov $by_sysenter_end - by_sysenter, %edx
    call prepare
    /* as the vDSO: the kernel returns behind its SYSENTER, which pops these */
    call raw_sysenter
6:  mov $NR_reboot, %eax
    mov $0xfee1dead, %ebx
    mov $0x28121969, %ecx
    mov $0x4321fedc, %edx
    int $0x80
    hlt

prepare:
    mov $NR_write, %eax
    mov $1, %ebx
    ret

raw_sysenter:
    push %ecx
    push %edx
    push %ebp
    mov %esp, %ebp
    sysenter
    hlt

.data
entry: .long 0
by_vdso: .ascii "32 bits: by the vDSO\n"
by_vdso_end:
by_int: .ascii "32 bits: by INT 0x80\n"
by_int_end:
by_sysenter: .ascii "32 bits: by SYSENTER\n"
by_sysenter_end:
