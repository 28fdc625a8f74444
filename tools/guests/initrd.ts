/** The initramfs of the Debian guest: busybox and an /init that greets, works for a moment and powers off. */
import { type CpioEntry, writeCpio } from './cpio.ts';

const APPLETS = [
  ...['ash', 'cat', 'cut', 'date', 'dmesg', 'echo', 'env', 'expr', 'false', 'find', 'free', 'grep', 'gzip', 'head'],
  ...['hexdump', 'ls', 'md5sum', 'mkdir', 'mount', 'mv', 'poweroff', 'ps', 'reboot', 'rm', 'sed', 'seq', 'sh'],
  ...['sha256sum', 'sleep', 'sort', 'stty', 'tail', 'tr', 'true', 'umount', 'uname', 'uniq', 'uptime', 'wc'],
];

/** `hindsight.shell` on the kernel's command line gives a shell instead of the work; leaving it powers off. */
const INIT = `#!/bin/sh
export PATH=/bin
echo "hindsight: hello from /init"
ls -lR /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
if grep -q hindsight.shell /proc/cmdline; then
  echo "hindsight: shell"
  sh -i
  poweroff -f
fi
uname -a
cat /proc/cmdline /proc/cpuinfo
free
echo "hindsight: counting"
sum=0
for i in $(seq 1 2000); do
  sum=$((sum + i * i))
done
echo "hindsight: sum of squares $sum"
sha256sum /bin/busybox /init /etc/words
sort -r /etc/words | uniq | head -n 5
gzip -c /etc/words | gzip -d | md5sum
for i in 1 2 3 4 5; do
  echo "round $i: $(ps | wc -l) processes, $(grep -c . /proc/meminfo) lines of meminfo"
done
sleep 1
dmesg | tail -n 20
echo "hindsight: goodbye"
poweroff -f
`;

/** 4,000 lines from a small generator (Knuth's MMIX constants): text to sort, hash and compress. */
function words(): Uint8Array {
  const syllables = [
    'ka',
    'lo',
    'mi',
    'ren',
    'su',
    'tor',
    'va',
    'xe',
    'ny',
    'bo',
    'dal',
    'fi',
    'gru',
    'hem',
    'pi',
    'zo',
  ];
  const lines: string[] = [];
  let state = 1n;
  for (let line = 0; line < 4000; line++) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn;
    const bits = Number(state >> 48n);
    lines.push([12, 8, 4, 0].map((shift) => syllables[(bits >> shift) & 15]).join(''));
  }
  return new TextEncoder().encode(`${lines.join('\n')}\n`);
}

const directory = (path: string): CpioEntry => ({ kind: 'directory', path, mode: 0o755 });
const node = (path: string, major: number, minor: number): CpioEntry => ({
  kind: 'character',
  path,
  mode: 0o600,
  major,
  minor,
});

/** The uncompressed newc archive around a static busybox; device numbers are those of Documentation/admin-guide/devices.txt. */
export function buildInitrd(busybox: Uint8Array): Uint8Array {
  const text = (path: string, mode: number, content: string): CpioEntry => ({
    kind: 'file',
    path,
    mode,
    data: new TextEncoder().encode(content),
  });
  return writeCpio([
    ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'].map(directory),
    node('dev/console', 5, 1),
    node('dev/hvc0', 229, 0),
    node('dev/null', 1, 3),
    node('dev/tty', 5, 0),
    node('dev/ttyS0', 4, 64),
    node('dev/zero', 1, 5),
    text('etc/passwd', 0o644, 'root:x:0:0:root:/root:/bin/sh\n'),
    text('etc/group', 0o644, 'root:x:0:\n'),
    { kind: 'file', path: 'etc/words', mode: 0o644, data: words() },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, data: busybox },
    ...APPLETS.map((applet): CpioEntry => ({ kind: 'link', path: `bin/${applet}`, target: 'busybox' })),
    text('init', 0o755, INIT),
  ]);
}
