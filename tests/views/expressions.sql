upper(s) || lower(s)
s || '-' || i
concat(s, NULL, i)
concat_ws(',', s, i)
length(s) + len(l)
substring(s, 2, 3)
substr(s, -3)
s[1]
s[2:4]
left(s, 2) || right(s, 2)
split_part(s, '-', 2)
string_split(s, '-')
str_split(s, '-')[1]
replace(s, 'l', 'L')
trim(s)
ltrim(s, 'H')
rtrim(s, 'd')
lpad(s, 20, '*')
rpad(s, 20, '*')
reverse(s)
repeat('a', 3)
strpos(s, 'o')
position('o' IN s)
instr(s, 'W')
contains(s, 'lo')
starts_with(s, 'Hel')
s ^@ 'Hel'
suffix(s, 'ld')
s LIKE 'H%'
s ILIKE 'h%'
s NOT LIKE '%x%'
s SIMILAR TO 'H.*'
s ~ 'H.*'
s GLOB 'H*'
regexp_matches(s, 'o-W')
regexp_replace(s, 'o', '0')
regexp_replace(s, 'o', '0', 'g')
regexp_extract(s, '(.)-(.)', 2)
regexp_extract_all(s, 'o')
regexp_full_match(s, 'H.*d')
md5(s)
sha256(s)
hash(s) > 0
base64(encode(s))
hex(s)
ascii(s)
chr(65)
format('{} {}', s, i)
printf('%s %d', s, i)
levenshtein(s, 'Hallo')
i / 2
i // 2
i % 4
mod(i, 4)
j % 4
i ** 2
pow(i, 2)
i & 3
i | 8
xor(i, 3)
i << 2
~i
abs(j)
sign(j)
ceil(f)
floor(f)
round(d)
round(d, 1)
round_even(f, 0)
trunc(f)
sqrt(i)
ln(i)
log(i)
log10(i)
log2(i)
exp(1)
greatest(i, j, 3)
least(i, j)
d * 1.19
d * i
d / i
d + 0.1
d::DOUBLE
d::VARCHAR
1e3
1.50
1_000
CAST(i AS DECIMAL(10,2))
TRY_CAST(s AS INTEGER)
i::SMALLINT
i::FLOAT
i::HUGEINT
i::UBIGINT
s::BLOB
coalesce(n, i)
ifnull(n, i)
nullif(i, 7)
if(b, 1, 2)
CASE i WHEN 7 THEN 'a' ELSE 'b' END
CASE WHEN n IS NULL THEN 1 END
n IS NULL
n IS NOT NULL
b IS TRUE
b AND NOT b OR b
i BETWEEN 1 AND 10
i NOT BETWEEN 1 AND 3
i IN (1, 7)
i NOT IN (1, 2)
i = 7 AND j <> 3
i != 3
i == 7
i IS DISTINCT FROM n
i IS NOT DISTINCT FROM 7
date_trunc('hour', t)
date_trunc('week', dt)
time_bucket(INTERVAL 15 MINUTE, t)
extract(hour FROM t)
extract('dow' FROM t)
date_part('isodow', t)
datepart('year', t)
year(t)
month(dt)
day(dt)
hour(t)
minute(t)
second(t)
dayofweek(dt)
weekday(dt)
isodow(dt)
dayofyear(dt)
week(dt)
weekofyear(dt)
quarter(dt)
dayname(dt)
monthname(dt)
last_day(dt)
epoch(t)
epoch_ms(t)
epoch_us(t)
epoch_ms(1700000000000)
to_timestamp(1700000000)
make_date(2026, 1, 2)
make_timestamp(2026, 1, 2, 3, 4, 5.5)
dt + 3
dt + INTERVAL 1 MONTH
dt - INTERVAL '2 days'
t + INTERVAL 1 DAY
t - INTERVAL '1 hour 30 minutes'
t + to_hours(3)
to_days(i)
dt - DATE '2026-01-01'
t - TIMESTAMPTZ '2026-03-04 00:00:00+00'
date_diff('day', dt, DATE '2026-03-01')
datediff('month', dt, DATE '2026-03-01')
date_sub('month', dt, DATE '2026-03-01')
date_add(dt, INTERVAL 1 DAY)
age(t, TIMESTAMPTZ '2025-01-01 00:00:00+00')
strftime(t, '%Y-%m-%d %H:%M:%S')
strftime(dt, '%A %j')
strptime('2026-01-02', '%Y-%m-%d')
t::DATE
t::TIMESTAMP
t AT TIME ZONE 'Europe/Berlin'
timezone('UTC', t)
'2026-01-02'::DATE
DATE '2026-01-02'
TIMESTAMP '2026-01-02 03:04:05'
TIMESTAMPTZ '2026-01-02 03:04:05+02'
TIME '03:04:05'
l[1]
l[-1]
l[2:3]
l[1:2]
list_extract(l, 2)
list_element(l, 1)
array_length(l)
list_sum(l)
list_avg(l)
list_min(l)
list_max(l)
list_count(l)
list_contains(l, 2)
array_contains(l, 2)
list_has_any(l, [2])
list_position(l, 2)
list_append(l, 4)
list_prepend(0, l)
list_concat(l, [4])
l || [5]
list_sort(l)
list_sort(l, 'DESC')
list_reverse_sort(l)
list_reverse(l)
list_distinct(l)
list_unique(l)
list_slice(l, 1, 2)
list_filter(l, lambda x: x > 1)
list_transform(l, lambda x: x * i)
list_transform(l, lambda x, k: x + k)
list_reduce([1,2,3], lambda x, y: x + y)
[x * 2 for x in l if x > 1]
list_aggregate(l, 'sum')
list_string_agg(ls)
array_to_string(ls, ',')
list_zip(l, ls)
flatten([[1],[2]])
range(3)
generate_series(1, 3)
2 IN l
st.a
st['b']
struct_extract(st, 'a')
struct_pack(x := i, y := s)
{'x': i, 'y': s}
row(i, s)
(i, s)
struct_insert(st, z := 3)
m['k']
map_extract(m, 'k')
element_at(m, 'k')
map_keys(m)
map_values(m)
cardinality(m)
map_contains(m, 'k')
MAP {'a': i}
js->'a'
js->>'a'
js->'$.a.b'
js->>'$.a.b'
json_extract(js, '$.a.b')
json_extract_string(js, '$.a.b')
json_extract(js, ['$.a', '$.c'])
(js->>'$.a.b')::INTEGER
js.a.b
json_array_length(js, '$.c')
json_type(js)
json_keys(js)
to_json(st)
json_object('a', i)
json_valid('{}')
u::VARCHAR
typeof(d)
bar(i, 0, 10, 5)
isnan(f)
isfinite(t)
gcd(12, 18)
factorial(5)
-i
+ i
- (-i)
NOT b
(i + j) * 2
i - j - 1
i - (j - 1)
2 ** 3 ** 2
-2 ** 2
i / 2 * 2
i % 3 * 2
s COLLATE NOCASE = 'hello-world'
'it''s'
e'a\nb'
$$dollar$$
'\x41'::BLOB
bitstring('0101', 8)
ascii('é') + unicode('é')
nfc_normalize('é')
strip_accents('é')
translate(s, 'lo', 'xy')
bit_count(i)
greatest(NULL, 1)
try(i / 0)
i / 0
cast(s AS VARCHAR(3))
i::VARCHAR || j::VARCHAR
list_value(1, 2)
array_value(1, 2)
list_any_value(l)
list_first(l)
list_last(l)
list_has_all(l, [1,2])
list_intersect(l, [1])
list_where(l, [true,false,true,false])
list_select(l, [1,2])
list_resize(l, 2)
list_indexof(l, 2)
list_cosine_similarity([1.0,2.0],[1.0,2.0])
date_part(['year','month'], dt)
equi_width_bins(0, 10, 2, true)
datetrunc('month', dt)
century(dt)
era(dt)
julian(dt)
to_base(i, 2)
bin(i)
from_base64('QQ==')
url_encode(s)
parse_path('a/b')
parse_filename('a/b.c')
lcase(s)
ucase(s)
char_length(s)
octet_length(encode(s))
strlen(s)
bit_length(s)
editdist3(s, 'x')
jaccard(s, 'World')
ends_with(s, 'd')
prefix(s, 'H')
array_slice(l, 1, 2)
cbrt(27)
degrees(1)
pi()
sin(1) + cos(1) + atan2(1, 2)
nextafter(1.0::DOUBLE, 2.0)
even(f)
fdiv(5, 2)
fmod(5, 2)
isinf(f)
signbit(f)
lgamma(3)
gamma(3)
s IS NULL OR i > 3 AND b
NOT i > 3 AND b
