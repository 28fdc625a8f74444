/** SSSE3, SSE4.1 and SSE4.2 in the maps 0F 38 and 0F 3A (SDM vol. 2 tables ). */
import { having, type Row, row } from './row.ts';

/** SSSE3 on MMX and XMM registers, by opcode of the 0F 38 map. */
const SSSE3_INTEGER: ReadonlyArray<readonly [string, string]> = [
  ['00', 'pshufb'],
  ['01', 'phaddw'],
  ['02', 'phaddd'],
  ['03', 'phaddsw'],
  ['04', 'pmaddubsw'],
  ['05', 'phsubw'],
  ['06', 'phsubd'],
  ['07', 'phsubsw'],
  ['08', 'psignb'],
  ['09', 'psignw'],
  ['0A', 'psignd'],
  ['0B', 'pmulhrsw'],
  ['1C', 'pabsb'],
  ['1D', 'pabsw'],
  ['1E', 'pabsd'],
];

/** Widening moves by the low digit of their opcode: element sizes, and the operand. */
const WIDENING: ReadonlyArray<readonly [string, string]> = [
  ['bw', 'Wq'],
  ['bd', 'Wd'],
  ['bq', 'Ww'],
  ['wd', 'Wq'],
  ['wq', 'Wd'],
  ['dq', 'Wq'],
];

/** SSE4.1 with an XMM destination and source, by opcode of the 0F 38 map. */
const SSE41_INTEGER: ReadonlyArray<readonly [string, string]> = [
  ['28', 'pmuldq'],
  ['29', 'pcmpeqq'],
  ['2B', 'packusdw'],
  ['38', 'pminsb'],
  ['39', 'pminsd'],
  ['3A', 'pminuw'],
  ['3B', 'pminud'],
  ['3C', 'pmaxsb'],
  ['3D', 'pmaxsd'],
  ['3E', 'pmaxuw'],
  ['3F', 'pmaxud'],
  ['40', 'pmulld'],
  ['41', 'phminposuw'],
];

const SSE41: readonly Row[] = [
  // XMM0 is the mask
  row('66 0F 38 10', 'pblendvb', 'Vdq,Wdq'),
  row('66 0F 38 14', 'blendvps', 'Vps,Wps'),
  row('66 0F 38 15', 'blendvpd', 'Vpd,Wpd'),
  row('66 0F 38 17', 'ptest', 'Vdq,Wdq'),
  ...WIDENING.flatMap(([sizes, operand], n) => [
    row(`66 0F 38 2${n}`, `pmovsx${sizes}`, `Vdq,${operand}`),
    row(`66 0F 38 3${n}`, `pmovzx${sizes}`, `Vdq,${operand}`),
  ]),
  row('66 0F 38 2A', 'movntdqa', 'Vdq,Mdq'),
  ...SSE41_INTEGER.map(([op, name]) => row(`66 0F 38 ${op}`, name, 'Vdq,Wdq')),
  row('66 0F 3A 08', 'roundps', 'Vps,Wps,Ib'),
  row('66 0F 3A 09', 'roundpd', 'Vpd,Wpd,Ib'),
  row('66 0F 3A 0A', 'roundss', 'Vss,Wss,Ib'),
  row('66 0F 3A 0B', 'roundsd', 'Vsd,Wsd,Ib'),
  row('66 0F 3A 0C', 'blendps', 'Vps,Wps,Ib'),
  row('66 0F 3A 0D', 'blendpd', 'Vpd,Wpd,Ib'),
  row('66 0F 3A 0E', 'pblendw', 'Vdq,Wdq,Ib'),
  row('66 0F 3A 14', 'pextrb', 'Rd/Mb,Vdq,Ib'),
  row('66 0F 3A 15', 'pextrw', 'Rd/Mw,Vdq,Ib'),
  row('66 0F 3A 16', 'pextrd', 'Ey,Vdq,Ib'),
  row('66 0F 3A 17', 'extractps', 'Ed,Vps,Ib'),
  row('66 0F 3A 20', 'pinsrb', 'Vdq,Rd/Mb,Ib'),
  row('66 0F 3A 21', 'insertps', 'Vps,Wss,Ib'),
  row('66 0F 3A 22', 'pinsrd', 'Vdq,Ey,Ib'),
  row('66 0F 3A 40', 'dpps', 'Vps,Wps,Ib'),
  row('66 0F 3A 41', 'dppd', 'Vpd,Wpd,Ib'),
  row('66 0F 3A 42', 'mpsadbw', 'Vdq,Wdq,Ib'),
];

const SSE42: readonly Row[] = [
  row('66 0F 38 37', 'pcmpgtq', 'Vdq,Wdq'),
  row('66 0F 3A 60', 'pcmpestrm', 'Vdq,Wdq,Ib,yAX,yDX'),
  row('66 0F 3A 61', 'pcmpestri', 'Vdq,Wdq,Ib,yAX,yDX'),
  row('66 0F 3A 62', 'pcmpistrm', 'Vdq,Wdq,Ib'),
  row('66 0F 3A 63', 'pcmpistri', 'Vdq,Wdq,Ib'),
  row('F2 0F 38 F0', 'crc32', 'Gy,Eb'),
  row('F2 0F 38 F1', 'crc32', 'Gy,Ev'),
];

export const THREE_BYTE: readonly Row[] = [
  ...having(
    'ssse3',
    SSSE3_INTEGER.flatMap(([op, name]) => [
      row(`NP 0F 38 ${op}`, name, 'Pq,Qq'),
      row(`66 0F 38 ${op}`, name, 'Vdq,Wdq'),
    ]),
  ),
  row('NP 0F 3A 0F', 'palignr', 'Pq,Qq,Ib', 'ssse3'),
  row('66 0F 3A 0F', 'palignr', 'Vdq,Wdq,Ib', 'ssse3'),
  ...having('sse4.1', SSE41),
  ...having('sse4.2', SSE42),
];
