/*
 * PID 1: traces a child and sets a write watchpoint and an instruction breakpoint in its debug registers, as a debugger inside the guest does.
 * Says what the child was stopped by, and powers off. Built with `gcc -static`.
 */
#include <stddef.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile long watched;

__attribute__((noinline)) static void reached(long value) {
  asm volatile("" ::"r"(value) : "memory");
}

static void child(void) {
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  asm volatile("int3");
  for (long i = 1; i <= 100000; i++) asm volatile("" ::"r"(i));
  watched = 42;
  for (long i = 1; i <= 100000; i++) asm volatile("" ::"r"(i));
  reached(7);
  _exit(0);
}

static void debug_register(pid_t pid, int number, unsigned long value) {
  if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + number * sizeof(long), value)) perror("POKEUSER");
}

static void report(pid_t pid, const char *what) {
  int status = 0;
  struct user_regs_struct regs;
  ptrace(PTRACE_CONT, pid, 0, 0);
  waitpid(pid, &status, 0);
  ptrace(PTRACE_GETREGS, pid, 0, &regs);
  long dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg) + 6 * sizeof(long), 0);
  long value = ptrace(PTRACE_PEEKDATA, pid, &watched, 0);
  printf("debug registers: %s: signal %d, DR6 %lx, value %ld, %s\n", what, WIFSTOPPED(status) ? WSTOPSIG(status) : -1, dr6 & 15, value,
         regs.rip == (unsigned long)reached ? "at reached" : "elsewhere");
  debug_register(pid, 6, 0);
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  pid_t pid = fork();
  if (pid == 0) child();
  int status;
  waitpid(pid, &status, 0);
  debug_register(pid, 0, (unsigned long)&watched);
  debug_register(pid, 1, (unsigned long)reached);
  /* DR0: 8 bytes written; DR1: executed */
  debug_register(pid, 7, 1 << 0 | 1 << 2 | 1 << 16 | 2 << 18);
  report(pid, "watchpoint");
  report(pid, "breakpoint");
  debug_register(pid, 7, 0);
  ptrace(PTRACE_CONT, pid, 0, 0);
  waitpid(pid, &status, 0);
  printf("debug registers: the child ended with %d\n", WEXITSTATUS(status));
  sync();
  reboot(RB_POWER_OFF);
  return 0;
}
