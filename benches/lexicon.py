"""The small word lists that the generated corpus grows from, roughly by falling frequency.

Everything rarer is formed by rule in `generate.py`.
"""

ENGLISH_WORDS = """
the to you a is I and of in that it for on at me like be have what do with are your can this was there I'm would
want about yes not but so my how they we an will he know from or think it's don't as if no good just one need some
please get time when which okay has more go looking any really right who her his she that's see all sure thanks
people out find up by like been were their love help did where much them then had too also very make well great
could other back here over us way him because day first new into many does should said most now work only even two
look something something's you're I've I'll thank let tell why than going after still movie book next our say
really sounds never take use before name long got lot come always work game last those being year down things feel
may little used might doing show old play anything try another world off through every few same made best around
keep find pretty actually big give money between music house place different these part start someone nice free end
few put today home maybe each yeah without number such both under three life own during against ever read since
while kind enough however call far food hear watch thing ask hard state old school again can't didn't doesn't I'd
isn't let's what's there's he's she's we're they're you'll we'll you've wasn't won't couldn't wouldn't who's haven't
able water car city family friend friends week night morning evening afternoon tomorrow tonight yesterday hour hours
minute minutes month months years price pay cost buy sell ticket tickets restaurant hotel room train bus flight
airport station street address phone reservation book booking table party person child children man woman men women
boy girl mother father brother sister parents team player players season league score win won lose lost goal
question answer reason example problem point fact idea case side group company business market job office student
students teacher class university college science history art story song album artist band film actor character
director television series episode news paper article report letter word words language English Chinese American
country government president law court police war power public national local human body health doctor hospital
medicine heart blood eye eyes hand hands head face foot hair skin bone brain dog cat animal animals bird fish tree
plant flower sun moon star earth sky sea river lake mountain island beach park garden road bridge building door
window wall floor kitchen bed chair light fire air wind rain snow weather summer winter spring autumn color red
blue green black white yellow small large high low short early late young full empty open close closed hot cold
warm cool clean dirty fast slow easy difficult simple strong weak rich poor happy sad angry afraid sorry tired busy
ready important possible true false wrong real whole several certain special general common clear likely available
interesting beautiful wonderful amazing terrible favorite popular famous modern ancient natural social political
economic private personal cheap expensive safe dangerous healthy sick dead alive heavy quiet loud deep wide thick
thin sharp soft sweet bitter fresh dry wet bright dark become became begin began believe bring brought build built
change check choose cook cut decide die died drink drive eat explain fall felt fight fly follow forget gave grow
happen held hold hope hurt include increase join jump kill knew laugh lead learn leave left lie listen live lived
meet mean means meant mind miss move moved paid pass pick plan prefer pull push ran reach receive remember return
ride rise run save seem seems seen send sent serve set share shop sing sit sleep smile speak spend stand started
stay stop study suggest suppose swim talk taste teach thought told took touch travel turn understand visit wait walk
wanted wash wear went wish wonder working worry worth write wrote written already almost although often usually
sometimes once twice together alone away instead else quite rather perhaps probably certainly definitely exactly
especially recently finally suddenly quickly slowly easily simply mostly nearly hardly yet ago above below behind
inside outside near across along among toward until unless whether though despite per via plus either neither
nothing everything everyone nobody somewhere anywhere half quarter third second fourth fifth dozen hundred thousand
million billion percent dollar dollars cent pound euro yuan mile miles meter kilometer degree degrees size weight
length height age level rate amount piece bit couple pair set list line page chapter section title date Monday
Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September October
November December Christmas birthday holiday vacation trip tour museum theater cinema concert coffee tea beer wine
milk bread rice meat chicken beef pork egg eggs cheese butter sugar salt soup salad pizza burger noodle fruit apple
orange banana lemon potato tomato onion breakfast lunch dinner meal recipe dish cup glass bottle plate knife spoon
shirt shoes dress coat hat bag box key keys map camera computer laptop internet website email message video photo
picture radio machine engine battery software program code data file system network password account bank card
credit cash check tax insurance rent contract service services customer manager worker staff member members leader
king queen prince army soldier weapon peace treaty election vote party union court judge crime prison church god
religion faith spirit soul dream memory love hate fear anger joy pain pleasure truth secret lie luck chance choice
effort success failure future past present century decade period moment event accident disaster storm flood
earthquake temperature energy oil gas coal metal gold silver iron steel stone wood cotton paper plastic rubber
theory method result results research experiment evidence knowledge skill education training experience practice
exercise sport football basketball baseball tennis golf soccer hockey race olympic coach champion cup medal record
north south east west western eastern northern southern central international global foreign European African Asian
British French German Spanish Italian Japanese Russian Indian London Paris York California Texas Washington Chicago
Boston Francisco Angeles Beijing Shanghai Tokyo Berlin Rome Canada China Japan India France Germany England Spain
Italy Russia Australia Mexico Brazil John James David Michael Mary Robert William George Thomas Peter Paul Sarah
Emma Anna Alice Jack Tom Sam Ben Lucy Kate Jane
""".split()

ENGLISH_STEMS = """
act add admit adopt adult advance agree aim alarm align allow alter amaze amend anchor annoy appeal appear apply
argue arm arrange arrest arrive assault assert assign assist assume attach attack attain attempt attend attract
author avoid award balance ban bargain base beat behave bend bind bite blame blend bless block bloom boast boil bold
bond bore borrow bounce brave break breath breed brew broad broken brush bubble burden burn bury calculate calm cancel
capture care carry carve catch cause celebrate challenge charge charm chase cheer chemic circul civil claim classic
climb cling coal coast collect colon combine comfort command comment commit compare compete complain complete complex
compose comprehend compute conceal concern conclude condemn conduct confess confirm conflict confuse connect conquer
consent conserve consider consist construct consult consume contain contest continue contract contrast contribute
control convert convey convince cooperate cope correct counsel count craft crash create creep critic cross crowd crush
cultiv cure curl custom damage dance debate decay decor defeat defend define delay delight deliver demand deny depart
depend describe desert deserve design desire destroy detail detect determine develop devote differ digest dignify
direct discover discuss dismiss display dispute distant distinct distribute disturb divide divine dominate double
doubt draft drag drain drama dread drift drown due earn ease echo edit educate effect elect elegant element embrace
emerge emotion emphas employ enable encounter encourage endure engage enhance enjoy enlarge ensure enter entertain
equal equip escape essence establish estimate evolve examine exceed excel except excite exclude excuse execute exist
expand expect expel explode exploit explore export expose express extend extract fade fail faith fame fancy farm
fashion fasten fault favor fertile fiction fierce figure filter final finance firm fix flavor flex flow focus fold
forbid force forge form formal fortune found fraction fragment frame frequent freight fright front frost fruit fuel
function fund furnish gain gallop gather gaze gener gentle gesture glad glance global glory govern grace grade grand
grant grasp grateful grave greet grieve grip ground guarantee guard guess guide guilt habit halt handle harbor harm
harvest haunt heal heap heat herald hero hesit hinder hint hire honest honor horizon horror host human humble hunt
hurry ideal identify ignore illumin illustr image imagine imit impact imply import impose impress improve indic
individ induce indulge industr infect infer inflame inform inherit initi injure inquire insert insist inspect inspire
install instruct insult intellect intend intense interfere interpret interrupt intimate introduce invade invent invest
invite involve irrit isolate journal journey just keen kind knit label labor land launch law lean legend liber limit
link liter load loc lodge logic lone loyal magic magnet maintain major manage manifest manufacture margin mark master
match mater mature maxim measure mechan medit melt mend mental merchant merge merit migr milit mine minim minister
mix mobil model moder modest moist monit moral motion motiv mount mourn multipl murder muscl mutual mystery narr
native navig neglect negoti neutr nobl nomin norm notice nour novel numer nurse obey object oblige obscure observe
obtain occupy occur offend offer oper oppose oppress optim oral order organ origin orn overcome owe own pack paint
panic parallel pardon particip particul passion patient pattern pause pave peculiar penet perceive perfect perform
permit persist person persuade phase phil photo phrase physic pierce pilot pioneer pity plain plant please plot plunge
poet poison polar polish polite pollute popul portion portray pose posit possess post potent pour practic praise pray
precise predict prefer prepare preserve press pretend prevail prevent pride prim print prison priv privilege process
produce profess profit progress prohibit project prolong promin promise promote prompt proof proper propose prosper
protect protest proud prove provide provoke publish punish purchase pure purpose pursue puzzle qualify quarrel quest
quiet quote rad range rapid rare react real reason rebel recall reckon recognize recommend reconcile recover recruit
reduce refer refine reflect reform refresh refuse regard regret regul reject relate relax release relev relieve rely
remain remark remedy remind remote remove render renew repair repeat repent replace reply represent republic reput
request require rescue resemble resent reserve reside resist resolve respect respond rest restore restrain restrict
resume retain retire retreat reveal revenge reverse review revise revive revolt reward rhythm rigid ritual rival roast
rob romant rough routine royal ruin rule rush sacred sacrifice satisfy scatter scene schedule schem scholar scrape
scream screen search secure seek segment seize select sens sentiment separ sequence serious settle severe shade shake
shape sharp shelter shift shine shock shoot shrink sign signal signific silent similar sincer skeptic sketch slip
smooth social soften solar solid solve sophist sour spark spatial special speci specul spell spin splend split spoil
sponsor spread squeeze stabl stage stain stamp stare starve station statist steady steal stem stick stiff stimul stir
store strain strange strateg stream strength stress stretch strict strike string strip struct struggle stubborn style
subject submit subst subtle succeed suffer suffic suit summon superior supply support suppress surge surpass surprise
surrender surround survey survive suspect suspend sustain swallow swear sweep swell swing symbol sympath symptom
tact talent target tax techn temper tempt tend tender tens term terror test text thank theor thick thirst thread
threat thrill throne thrust tight timid tissue toler tomb torment torture total tough trace trade tradit tragic trail
transfer transform translate transmit transport trap treasure treat tremble trend trial tribe trick triumph tropic
trouble trust tutor twist typic ultim unite univers urge util vacant vague valid valu vapor vari vast venture verb
verify vessel vibr victim view vigor violent virtue visible vision vital vivid vocal volunteer vulner wander warn
waste wealth weave welcome wild wise wither withdraw witness worship wound wrap wreck yield youth zeal
""".split()

ENGLISH_PREFIXES = """
un re in dis over under pre post non sub inter trans counter anti co de mis out super semi multi micro hyper neo
""".split()

ENGLISH_SUFFIXES = """
s ed ing er ly ion al ment ness able ers ions ity ive ous ful less ist ism ance ence ant ent ish ure age ation
ations izing ized ize izes ically istic ability iveness fulness ment's er's s' ological ography ocracy ward wise
""".split()

ENGLISH_ONSETS = """
b br c ch cl cr d dr f fl fr g gl gr h j k kr l m n p pl pr qu r s sc sh sk sl sm sp st str sw t th tr v w wh y z
""".split()
ENGLISH_NUCLEI = "a e i o u ai au ea ee ei ia ie io oa oo ou y ue".split()
ENGLISH_CODAS = [*[""] * 4, *"b ck d ff g l ld ll lt m mp n nd ng nk nt p r rd rk rn rt s sh sk ss st t th x z".split()]

CHINESE_WORDS = """
的 是 我 了 你 在 有 不 吗 好 我们 什么 一个 这个 就 都 也
很 吧 他 啊 呢 和 人 去 可以 多少 知道 喜欢 没有 还 说 那 这
看 想 要 你好 会 对 能 给 到 上 好的 与 为 年 中 电影 怎么 谢谢 地方 时间 觉得 现在 一下 大 小 多 个 最 吃 来 被 以 她
自己 他们 因为 所以 但是 如果 还是 已经 就是 不是 真的 非常
比较 应该 可能 需要 请问 推荐 帮 找 附近 酒店 餐馆 景点 门票
评分 地址 电话 价格 人均 消费 元 小时 游玩 分钟 地铁 公交
出租车 车站 机场 火车 飞机 晚上 早上 中午 下午 今天 明天 昨天
周末 星期 号 月 日 岁 米 公里 次 种 位 家 部 首 本 张
条 件 只 里 下 后 前 时候 之后 之前 以后 开始 结束 出来 起来 下来
过 着 从 向 把 让 用 做 听 买 卖 走 跑 玩 写 读
学 教 叫 问 回答 问题 朋友 孩子 父母 老师 学生 学校 大学 工作 公司 生活
世界 中国 北京 上海 美国 日本 英国 国家 城市 政府 社会 历史
文化 经济 政治 法律 科学 技术 教育 音乐 歌曲 歌手 演员 导演
角色 故事 小说 作者 作品 专辑 乐队 比赛 球队 冠军 足球
篮球 运动员 赛季 联赛 世界杯 奥运会 战争 军队 皇帝 朝代 公元 世纪
建筑 博物馆 公园 广场 寺 山 水 河 湖 海 岛 天气 温度 下雨 夏天 冬天 春天 秋天 动物 植物 身体 健康 医院 医生 药 病 心
眼睛 头发 手 脚 衣服 鞋子 手机 电脑 网络 软件 游戏 照片 视频 新闻 消息 信息 语言 文字 英语 汉语 数学 物理 化学 生物
研究 发现 发展 成为 进行 使用 建立 由于 以及 其中 主要 包括
根据 通过 关于 对于 认为 表示 属于 位于 成立 出生 毕业 获得
担任 参加 举行 影响 重要 不同 许多 一些 部分 方面 第一 第二
第三 同时 此外 然而 而且 或者 虽然 不过 其实 当然 特别 一般
经常 一直 总是 有时 有点 挺 太 更 再 又 才 刚 正 比 跟 像 等 些 每 各 另 某 该 此 其 之 而 且 则 即 若 如 及 并 或 于
爱 恨 怕 笑 哭 高兴 难过 开心 生气 漂亮 帅 美丽 可爱
有名 有趣 好吃 好看 好听 便宜 贵 干净 安静 热闹 方便 舒服 简单 困难
菜 饭 面 茶 咖啡 牛奶 水果 苹果 鸡肉 牛肉 羊肉 烤鸭 火锅 面条 米饭 饺子 蛋糕 早餐 晚餐 味道 服务 环境 房间 免费 早班
叫醒 热水 无线 停车场 健身房 会议室 预订 出发 到达 距离 路线 旁边 对面
左边 右边 里面 外面 楼 层 门 口 路 街 区 市 省 县
哈哈 嗯 哦 呀 嘛 啦 哎 嘿 哇 行 对啊 是啊 好啊 是的 不错 没事 没错 再见 不客气 麻烦 不用 不要 不会 不能 不知道 没关系
一样 一起 一点 一定 几个 哪里 哪个 哪儿 为什么 怎么样 谁 几 两 三 四 五 六 七 八 九 十 百 千 万 亿
事情 问题 情况 关系 系统 管理 组织 机构 制度 政策 计划 项目
方案 方法 方式 结果 原因 目的 作用 条件 标准 水平 能力 力量
人民 群众 居民 公民 干部 领导 主席 总统 总理 部长 书记 委员
代表 会议 大会 选举 投票 改革 开放 建设 生产 制造 加工 设计
工程 工业 农业 商业 企业 工厂 市场 贸易 投资 金融 银行 股票
基金 保险 财政 税收 收入 支出 成本 利润 资金 资源 能源 石油
煤炭 电力 核能 环保 污染 气候 森林 草原 沙漠 海洋 河流 湖泊
山脉 平原 盆地 地震 台风 洪水 火灾 事故 灾害 救援 安全 消防
交通 运输 铁路 公路 高速 桥梁 隧道 港口 航空 航天 卫星 火箭 飞船 汽车 轿车 卡车 自行车 摩托车 轮船 导航 驾驶 乘客 司机
警察 法院 检察院 律师 犯罪 案件 审判 监狱 证据 合同 协议 权利 义务 责任 自由 民主 平等 公平 正义 道德 宗教 佛教 基督教
伊斯兰教 道教 儒家 哲学 思想 理论 观念 意识 精神 物质 现象 本质
规律 逻辑 概念 定义 分析 综合 比喻 象征 文学 诗歌 散文 戏剧
戏曲 京剧 舞蹈 绘画 书法 雕塑 摄影 艺术 美术 设计师 艺术家
画家 作家 诗人 编剧 主演 主持人 记者 编辑 出版 报纸 杂志 广播
电视 电视台 节目 频道 网站 网友 用户 客户 粉丝 偶像 明星 模特 团队 成员 队员 教练 裁判 选手 决赛 金牌 银牌 纪录 锦标赛
游泳 跑步 羽毛球 乒乓球 网球 排球 棒球 体操 滑雪 武术 象棋
围棋 数据 程序 代码 算法 模型 人工智能 机器人 互联网 平台 应用
设备 仪器 机器 材料 金属 钢铁 塑料 玻璃 木材 石头 水泥 化工 药物 疫苗 病毒 细菌 细胞 基因 蛋白质 维生素 营养 疾病 癌症
糖尿病 高血压 感冒 发烧 咳嗽 手术 治疗 诊断 症状 患者 护士 药店 保健 减肥 睡眠 压力 情绪 心理 性格 兴趣 爱好 习惯 经验
知识 技能 智慧 记忆 想象 创造 发明 专利 实验 实验室 论文 教授 博士 硕士 专业 课程 考试 成绩 作业 课堂 教室 图书馆 宿舍
食堂 操场 幼儿园 小学 中学 高中 毕业生 就业 招聘 面试 工资 奖金 加班 老板 同事 经理 秘书 会计 工程师 程序员 销售 广告
品牌 产品 商品 质量 包装 快递 物流 仓库 超市 商场 商店
网店 购物 打折 优惠 退货 付款 信用卡 现金 支付宝 微信 微博 朋友圈
结婚 离婚 恋爱 男朋友 女朋友 丈夫 妻子 儿子 女儿 爸爸 妈妈 爷爷 奶奶 哥哥 姐姐 弟弟 妹妹 亲戚 邻居 家庭 家人 房子 房租
装修 家具 沙发 桌子 椅子 床 冰箱 空调 洗衣机 电视机 厨房 卧室
客厅 阳台 花园 小区 物业 电梯 钥匙 雨伞 眼镜 手表 钱包 礼物
生日 春节 中秋节 国庆节 圣诞节 假期 旅游 旅行 行李 护照 签证
导游 风景 古镇 古城 长城 故宫 天安门 颐和园 西湖 黄山 泰山
广州 深圳 天津 重庆 成都 武汉 西安 南京 杭州 苏州 香港 台湾
台北 澳门 四川 广东 江苏 浙江 山东 河南 湖北 湖南 福建 云南
新疆 西藏 韩国 法国 德国 俄罗斯 印度 巴西 澳大利亚 加拿大
意大利 西班牙 欧洲 亚洲 非洲 美洲 太平洋 大西洋 地球 月球 太阳
宇宙 星座 银河 黑洞 时代 古代 近代 现代 当代 未来 过去 当时
目前 如今 最近 将来 永远 突然 忽然 立刻 马上 渐渐 逐渐 终于
仍然 依然 居然 竟然 果然 毕竟 究竟 到底 几乎 大约 大概 至少
至多 甚至 尤其 否则 不仅 不但 无论 不管 即使 尽管 既然 只要
只有 除非 除了 按照 依照 为了 随着 作为 出现 存在 产生 形成
提供 提出 提高 增加 减少 扩大 缩小 改变 改善 加强 促进 推动
实现 完成 解决 处理 控制 保护 支持 反对 同意 拒绝 批评 表扬
鼓励 帮助 照顾 关心 理解 误解 原谅 道歉 感谢 祝贺 欢迎 告别
""".split()

# Characters that rarer words are composed of.
CHINESE_CHARACTERS = (
    "人大年中国上有来生会子学地出家发成得行自分时作公长方开本要事现同主力工动体理过心前日面机后关点高新法业文军政明天"
    "经电化物气水和部向外多老名度路意实加金世口马海量相门无力产三民里全山特东制重西比间并通回性信名合月安车位少华书品"
    "入强道教员手真数次原战程线代声议建光利感由打最形空区色服放石望表风平科条南先式北观张美王今女变治神保白美林活直结元"
    "身运计交友知记思义革达任质万常流系接目见立取题住求转想情快字走花阳百土市千清报调至应星传办病院收处算江术收别号受司"
    "根台格半影管布火亲定切领青必界共受听图场社低类研亮音远满步解观德乐食论树夜黑父母师客黄房古确包船苏铁改田毛热非容引英"
    "室失认首油助周兵罗曲站备罪急助丽片歌推云夏春秋冬朝汉唐宋明清元梁陈李王刘杨赵孙胡朱郭何高罗郑谢许韩冯邓曹彭曾萧田董潘袁"
    "蔡蒋余于杜叶程魏吕丁沈任姚卢傅钟姜崔谭廖范汪陆石戴贾韦夏邱侯邹熊孟秦白江阎薛尹段雷黎史龙陶贺顾毛郝龚邵万钱严赖覃洪武莫孔"
    "油价费级资投票股钱款银商店货购销价值汽配零件器械设施备修护防警察案件审判律宪权益责任务职称资格考试验测评选举投票决议策略划"
    "传统习俗礼节庆祝贺喜宴席酒杯盘碗筷刀叉勺锅炉灶煮炒炸烤蒸煎熬炖拌腌泡酸甜苦辣咸淡鲜香臭味觉嗅视触摸抓握拿提举抬推拉扯撕剪"
    "鸟鱼虫兽虎狼狗猫鼠牛羊猪鸡鸭鹅兔猴象狮豹鹿熊蛇龟蛙蝶蜂蚁草叶枝根茎果实种芽苗禾稻麦豆瓜菜茄椒葱姜蒜桃李杏梅梨橙柑橘葡萄莓"
    "红橙黄绿蓝紫灰粉棕金银铜铝锡铅锌钢玻璃陶瓷塑料橡胶纸墨笔砚琴棋诗词赋剧戏曲舞蹈雕塑绘画摄影展览馆厅堂殿阁亭塔桥梁隧堤坝港湾"
    "沙漠森林草原沼泽盆地丘陵峡谷瀑布泉溪潭洋洲岸滩礁冰雪霜露雾霾雷闪暴雨洪涝旱震灾难险危急救援助扶贫困富裕繁荣衰退兴起落降升涨"
    "哲逻辑概念判断推理归纳演绎假设证据结论矛盾统精神意识物质存在虚无永恒瞬间过程阶段趋势规律因素条件环境背景前景未来往昔曾经即将"
    "爸妈哥姐弟妹爷奶叔姨舅姑婶嫂侄孙婴童少青壮中老男女夫妻恋婚嫁娶离孕育养抚陪伴尊敬孝顺慈祥温柔善良勇敢坚强懦弱懒惰勤奋聪慧笨拙"
    "额鼻耳嘴唇齿舌喉颈肩臂肘腕指掌胸背腰腹臀腿膝踝趾皮肤肌肉骨骼血管神脑肺肝肾胃肠脾胆汗泪涕痰咳嗽喷嚏烧疼痛痒肿胀麻木晕眩恶吐"
    "卫健康疗养针灸按摩剂片丸膏汤散胶囊注射输液术后复查诊断症状患者护士床铺被褥枕毯巾帕衫裤裙袜鞋帽围巾手套腰带拉链纽扣针线缝补"
    "桌椅凳柜橱架箱盒桶盆缸瓶壶罐袋篮筐绳索链锁钥匙钉锤锯斧锹铲锄犁耙镰磨碾砌粉刷涂漆砖瓦泥浆沙石灰梁柱檐廊院墙篱笆栅栏窗帘幕布"
    "瑞典挪威芬兰丹麦荷比奥匈捷克波希腊土耳其埃及摩洛哥肯尼亚坦桑赞比津巴布韦南非印度泰越缅柬老挝菲律宾尼西亚澳新加坡巴拿智秘鲁"
    "乌拉圭伊朗克叙约旦沙特阿联酋卡塔尔科威特也门曼蒙古朝鲜哈萨吉尔斯坦白俄亚格鲁立陶宛托维莎娜琳达丽莉露茜安妮杰森迈克尔彼得汤姆"
)

CHINESE_SUFFIXES = "者性化学员家式率力品器站店馆院校场区县镇村队团会党派法术论权感度量级型版类"
CHINESE_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
)
