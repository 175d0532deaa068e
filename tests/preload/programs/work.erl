%% SPDX-License-Identifier: MIT
%% Erlang at work: allocators of its own over mmap() and malloc(), schedulers, many small heaps.
%%   work.erl SCALE
-mode(compile).

main([Text]) ->
    Scale = list_to_integer(Text),
    List = lists:seq(1, 50000 * Scale),
    Map = maps:from_list([{X, integer_to_list(X)} || X <- List]),
    io:format("~p~n", [maps:size(Map)]),
    Self = self(),
    Numbers = lists:seq(1, 30),
    [spawn(fun() ->
         Bytes = << <<(X * N rem 256)>> || X <- List >>,
         Self ! {N, erlang:crc32(Bytes)}
     end) || N <- Numbers],
    io:format("~p~n", [[receive {N, Sum} -> Sum end || N <- Numbers]]),
    Table = ets:new(table, [ordered_set]),
    [ets:insert(Table, {X * 7919 rem 10007, X}) || X <- List],
    io:format("~p~n", [ets:info(Table, size)]),
    Packed = term_to_binary(List, [compressed]),
    io:format("~p~n", [binary_to_term(Packed) =:= List]).
