<?php
// SPDX-License-Identifier: MIT
// PHP at work: modules loaded with RTLD_DEEPBIND, arrays, strings, expressions, serialisation.
//   work.php SCALE

$scale = (int) $argv[1];
$lists = [];
for ($i = 0; $i < 40000 * $scale; $i++) {
    $lists["k" . ($i * 7919 % 3000)][] = str_repeat("x", $i % 60);
}
ksort($lists);
$length = 0;
foreach ($lists as $list) {
    $length += strlen(implode(",", $list));
}
echo count($lists), " ", $length, " ", md5(serialize($lists)), "\n";
usort($lists, fn($a, $b) => count($b) <=> count($a));
echo preg_match_all("/x+,/", implode(",", array_merge(...$lists))), "\n";
$text = json_encode(range(1, 10000 * $scale));
echo strlen($text), " ", array_sum(json_decode($text)), "\n";
$cycle = new stdClass();
$cycle->self = $cycle;
unset($cycle);
echo gc_collect_cycles(), "\n";
foreach (["iconv", "ctype", "pdo", "tokenizer", "phar"] as $name) {
    echo $name, extension_loaded(strtoupper($name)) ? " loaded\n" : " missing\n";
}
if (function_exists("iconv")) {
    echo bin2hex(iconv("UTF-8", "UTF-16LE", "äöü")), "\n";
}
