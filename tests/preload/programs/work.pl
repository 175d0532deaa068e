# SPDX-License-Identifier: MIT
# Perl at work: hashes, regular expressions, sorting, closures, fork and pipes.
#   work.pl SCALE
use strict;
use warnings;

my $scale = shift @ARGV;
my %count;
my $state = 1;
my $text  = '';
for my $i (1 .. 20000 * $scale) {
    $state = ($state * 1103515245 + 12345) % 2147483648;
    my $word = 'w' . ($state % 5000) . 'x' x ($state % 30);
    $count{$word}++;
    $text .= "$word " if $i % 3 == 0;
}
my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
print "$_ $count{$_}\n" for @top;
my $matches = () = $text =~ /w(\d+)x+/g;
print "matches $matches\n";
(my $changed = $text) =~ s/(\d+)(x+)/length($2) . $1/ge;
print "changed ", length($changed), "\n";
my @closures = map { my $n = $_; sub { $n * $_[0] } } 1 .. 1000;
my $sum = 0;
$sum += $_->(3) for @closures;
print "sum $sum\n";
for my $i (1 .. 20) {
    open(my $pipe, '-|') // die "fork: $!" or do {
        my %h = map { $_ => [1 .. 5] } 1 .. 2000;
        print scalar(keys %h) + $i, "\n";
        exit 0;
    };
    print <$pipe>;
    close $pipe or die "child failed: $?";
}
my @rows = map { [split //, sprintf '%08d', $_ * 7919 % 100000000] } 1 .. 5000 * $scale;
print join(',', map { join '', reverse @$_ } @rows[0 .. 4]), "\n";
